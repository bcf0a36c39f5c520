//! What the operator was told about every shop: images and where it runs itself. Plain data.

/// Settings of the Shop controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Registry of the service images, for a Shop that names a version.
    pub registry: String,
    /// Image of the inventory service of this release.
    pub inventory_image: String,
    /// Image of the payments service of this release.
    pub payments_image: String,
    /// Image of the storefront of this release.
    pub storefront_image: String,
    /// Image of Redis Stack, for a Shop that names none.
    pub redis_image: String,
    /// Version of this release.
    pub version: String,
    /// Namespace of the operator's pods; unknown when it does not run in one.
    pub operator_namespace: Option<String>,
}

#[cfg(test)]
impl Settings {
    /// Settings that look alike in every test.
    pub(crate) fn for_tests() -> Self {
        Self {
            registry: "registry.example/shopwright".into(),
            inventory_image: "registry.example/shopwright/shopwright-inventory:test".into(),
            payments_image: "registry.example/shopwright/shopwright-payments:test".into(),
            storefront_image: "registry.example/shopwright/shopwright-storefront:test".into(),
            redis_image: "redis.example/redis-stack-server:test".into(),
            version: "0.0.0-test".into(),
            operator_namespace: Some("shopwright-system".into()),
        }
    }
}
