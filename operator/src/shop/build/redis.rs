//! Redis: volume claim, Service, StatefulSet.

use serde_json::{Value, json};
use shopwright_api::{
    DeletionPolicy, Quantity,
    names::{self, ANNOTATION_CONFIGURATION, ANNOTATION_USED_BY, Component, REDIS_PORT},
};
use shopwright_domain::access::User;

use super::{
    Builder, Child, ClaimedBytes,
    redis_config::{ACL_DIRECTORY, CONFIG_DIRECTORY, DATA_DIRECTORY, INSTALLATION},
    workload::{pod_security, restricted},
};
use crate::shop::{hash, kinds::Kind};

/// Redis has this long to write what it holds before it is killed.
const GRACE_SECONDS: i64 = 60;

impl Builder<'_> {
    pub(super) fn redis(&self, claimed: ClaimedBytes) -> Vec<Child> {
        let name = Component::Redis.object_name(self.name());
        vec![
            Child::new(
                Kind::VolumeClaim,
                names::redis_volume_claim(self.name()),
                self.volume_claim(claimed),
            ),
            Child::new(Kind::Service, name.clone(), self.redis_service()),
            Child::new(Kind::StatefulSet, name, self.stateful_set()),
        ]
    }

    /// The claim, by us and not by the StatefulSet, whose own templates could never grow. With `Retain` it has no owner,
    /// so that it outlives the Shop.
    fn volume_claim(&self, claimed: ClaimedBytes) -> Value {
        let storage = &self.shop.redis.storage;
        let size = match claimed {
            Some(bytes) if bytes > self.shop.storage_bytes => Quantity::new(bytes.to_string()),
            _ => storage.size.clone(),
        };
        let mut metadata = self.metadata_named(Component::Redis, &names::redis_volume_claim(self.name()));
        metadata["annotations"] = json!({ANNOTATION_USED_BY: self.shop.uid});
        if self.shop.spec.deletion_policy == DeletionPolicy::Retain
            && let Some(metadata) = metadata.as_object_mut()
        {
            metadata.remove("ownerReferences");
        }
        let mut spec = json!({
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
        });
        if let Some(class) = &storage.storage_class_name {
            spec["storageClassName"] = json!(class);
        }
        json!({"metadata": metadata, "spec": spec})
    }

    fn redis_service(&self) -> Value {
        json!({
            "metadata": self.metadata(Component::Redis),
            "spec": {
                "type": "ClusterIP",
                "selector": names::selector(self.name(), Component::Redis),
                "ports": [{"name": "redis", "port": REDIS_PORT, "targetPort": "redis", "protocol": "TCP"}],
            },
        })
    }

    fn stateful_set(&self) -> Value {
        let selector = names::selector(self.name(), Component::Redis);
        let name = Component::Redis.object_name(self.name());
        let configuration = hash::of_parts([
            self.redis_conf().as_str(),
            &self.credentials.users_acl(self.name()),
            self.credentials.password(User::Operator),
        ]);
        json!({
            "metadata": self.metadata(Component::Redis),
            "spec": {
                "replicas": 1,
                "serviceName": name,
                "revisionHistoryLimit": 3,
                "selector": {"matchLabels": selector},
                "template": {
                    "metadata": {
                        "labels": names::component_labels(self.name(), Component::Redis),
                        "annotations": {ANNOTATION_CONFIGURATION: configuration},
                    },
                    "spec": self.redis_pod(&name),
                },
            },
        })
    }

    fn redis_pod(&self, name: &str) -> Value {
        json!({
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "securityContext": pod_security(),
            "imagePullSecrets": self.pull_secrets(),
            "containers": [{
                "name": "redis",
                "image": self.shop.images.redis,
                // Explicit, because the image's own entry point writes to its root and reads settings from the environment.
                "command": [format!("{INSTALLATION}/bin/redis-server"), format!("{CONFIG_DIRECTORY}/redis.conf")],
                "workingDir": DATA_DIRECTORY,
                "ports": [{"name": "redis", "containerPort": REDIS_PORT, "protocol": "TCP"}],
                "env": [{"name": "REDISCLI_AUTH", "valueFrom": {"secretKeyRef": {
                    "name": names::redis_user_secret(self.name(), User::Operator.name()), "key": "password",
                }}}],
                "resources": self.shop.redis.resources,
                "securityContext": restricted(),
                // Loading a large file takes as long as it takes: liveness asks only for any answer, readiness for PONG.
                "livenessProbe": probe(false, 20, 6),
                "readinessProbe": probe(true, 2, 3),
                "volumeMounts": [
                    {"name": "data", "mountPath": DATA_DIRECTORY},
                    {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": true},
                    {"name": "acl", "mountPath": ACL_DIRECTORY, "readOnly": true},
                ],
            }],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": names::redis_volume_claim(self.name())}},
                {"name": "config", "configMap": {"name": name}},
                {"name": "acl", "secret": {"secretName": names::redis_acl_secret(self.name())}},
            ],
        })
    }
}

/// redis-cli ends with 0 on any answer, and with `-e` only on one that is no error; LOADING is one.
fn probe(must_be_pong: bool, period_seconds: i64, failure_threshold: i64) -> Value {
    let mut command = vec![format!("{INSTALLATION}/bin/redis-cli")];
    command.extend(["-h", "127.0.0.1", "--no-auth-warning", "--user", User::Operator.name()].map(String::from));
    if must_be_pong {
        command.push("-e".into());
    }
    command.push("ping".into());
    json!({
        "exec": {"command": command},
        "periodSeconds": period_seconds,
        // The default of 1 s fails on a busy node although Redis is well.
        "timeoutSeconds": 5,
        "failureThreshold": failure_threshold,
    })
}
