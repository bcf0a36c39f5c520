//! Flags and environment, read and checked once.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};

use crate::{shop::settings::Settings, telemetry::Format};

/// Version of this release; the service images of a Shop that names no version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs event-driven shops on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "shopwright-operator", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator.
    Run(Box<RunArguments>),
    /// Print the custom resource definitions as YAML.
    Crds,
}

/// How to run.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Registry of the service images, for Shops that name a version.
    #[arg(long, env, default_value = "")]
    pub image_registry: String,
    /// Image of the inventory service of this release.
    #[arg(long, env)]
    pub image_inventory: Option<String>,
    /// Image of the payments service of this release.
    #[arg(long, env)]
    pub image_payments: Option<String>,
    /// Image of the storefront of this release.
    #[arg(long, env)]
    pub image_storefront: Option<String>,
    /// Image of Redis Stack, for Shops that name none.
    #[arg(long, env, default_value = "redis/redis-stack-server:7.4.0-v3")]
    pub image_redis: String,
    /// Namespaces to look after, separated by commas; none is all.
    #[arg(long, env, value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Whether several operators share the work of one; only the one that holds the lease writes.
    #[arg(long, env, default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_election: bool,
    /// Name of this pod: the holder of the lease.
    #[arg(long, env, default_value = "shopwright-operator")]
    pub pod_name: String,
    /// Namespace of this pod: where the lease is, and whose pods may reach a shop's Redis.
    #[arg(long, env)]
    pub pod_namespace: Option<String>,
    /// Name of the lease.
    #[arg(long, env, default_value = "shopwright-operator")]
    pub lease_name: String,
    /// Shops that are reconciled at the same time.
    #[arg(long, env, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, env, default_value = "0.0.0.0:8080")]
    pub http_address: SocketAddr,
    /// Log filter, as in `info,shopwright_operator=debug`.
    #[arg(long, env, default_value = "info")]
    pub log: String,
    /// How a log line is written.
    #[arg(long, env, value_enum, default_value_t = Format::Text)]
    pub log_format: Format,
}

impl RunArguments {
    /// The namespaces, without the empty one that an empty variable makes.
    pub fn namespaces(&self) -> Vec<String> {
        let names = self
            .namespaces
            .iter()
            .map(|name| name.trim())
            .filter(|name| !name.is_empty());
        names.map(String::from).collect()
    }

    /// What the Shop controller needs of it.
    pub fn settings(&self) -> Settings {
        let registry = self.image_registry.trim_end_matches('/');
        let image = |given: &Option<String>, program: &str| {
            given.clone().filter(|image| !image.is_empty()).unwrap_or_else(|| {
                let slash = if registry.is_empty() { "" } else { "/" };
                format!("{registry}{slash}shopwright-{program}:{VERSION}")
            })
        };
        Settings {
            registry: registry.to_owned(),
            inventory_image: image(&self.image_inventory, "inventory"),
            payments_image: image(&self.image_payments, "payments"),
            storefront_image: image(&self.image_storefront, "storefront"),
            redis_image: self.image_redis.clone(),
            version: VERSION.to_owned(),
            operator_namespace: self.pod_namespace.clone().filter(|name| !name.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> RunArguments {
        let all = ["shopwright-operator", "run"].iter().chain(arguments);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Run(arguments) => *arguments,
            Command::Crds => panic!("parsed as crds"),
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn an_empty_list_of_namespaces_is_all_of_them() {
        assert!(run(&["--namespaces", ""]).namespaces().is_empty());
        assert_eq!(run(&["--namespaces", "a, b"]).namespaces(), ["a", "b"]);
    }

    #[test]
    fn images_default_to_this_version_in_the_registry() {
        let settings = run(&["--image-registry", "registry.example/x/", "--image-payments", "mine:1"]).settings();
        assert_eq!(
            settings.inventory_image,
            format!("registry.example/x/shopwright-inventory:{VERSION}")
        );
        assert_eq!(settings.payments_image, "mine:1");
        assert_eq!(
            run(&[]).settings().storefront_image,
            format!("shopwright-storefront:{VERSION}")
        );
    }

    #[test]
    fn the_election_can_be_switched_off() {
        assert!(run(&[]).leader_election);
        assert!(!run(&["--leader-election", "false"]).leader_election);
    }
}
