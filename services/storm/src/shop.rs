//! One shop on loopback: its main Redis behind a proxy, a second one for the provider's book, its processes. Touches what it
//! starts, and a folder it is given.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use shopwright_domain::access::User;
use shopwright_domain::keys::ShopKeys;
use shopwright_processes::free_address;
use shopwright_redis_stack::{Append, Options as RedisOptions, RedisStack};

use crate::accounts::{Passwords, random_word};
use crate::database::Database;
use crate::dice::Dice;
use crate::fleet::{Fleet, Launch};
use crate::plan::Durability;
use crate::proxy::Proxy;
use crate::role::{Program, Role};

/// The shop's name.
pub const NAME: &str = "storm";
/// The shop's currency.
pub const CURRENCY: &str = "EUR";

/// The programs of a shop, built with the feature `crash-points` of `shopwright-kit`.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `shopwright-inventory`.
    pub inventory: PathBuf,
    /// `shopwright-payments`.
    pub payments: PathBuf,
    /// `shopwright-storefront`.
    pub storefront: PathBuf,
}

/// How fast a shop loses its patience: everything that is minutes in production is seconds here.
#[derive(Clone, Copy, Debug)]
pub struct Tempo {
    /// Patience with inventory, and again with the provider.
    pub order_deadline_seconds: u32,
    /// First wait before somebody is asked again.
    pub retry_seconds: u32,
    /// The longest such wait.
    pub longest_retry_seconds: u32,
    /// How long an entry rests before a peer claims it.
    pub claim_min_idle_milliseconds: u32,
    /// How long a call to the provider takes.
    pub provider_latency_milliseconds: u32,
}

impl Tempo {
    /// Of a storm.
    pub const STORM: Self = Self {
        order_deadline_seconds: 5,
        retry_seconds: 1,
        longest_retry_seconds: 2,
        claim_min_idle_milliseconds: 2_000,
        provider_latency_milliseconds: 50,
    };
    /// Of a shop in which one process dies once, and which is waited for.
    pub const BRISK: Self = Self {
        order_deadline_seconds: 3,
        claim_min_idle_milliseconds: 500,
        provider_latency_milliseconds: 20,
        ..Self::STORM
    };
}

impl Tempo {
    /// How long somebody waits for an answer at most, before the order ends or is asked about again.
    pub fn longest_deadline(self) -> Duration {
        Duration::from_secs(self.order_deadline_seconds.into())
    }
}

/// A running shop. Dropping it ends all of it.
pub struct Shop {
    /// Its processes; ended first.
    pub fleet: Fleet,
    /// What lies between them and the main Redis.
    pub proxy: Proxy,
    /// Its main Redis.
    pub database: Database,
    /// The Redis of the provider's book, which is never killed.
    pub provider: RedisStack,
    /// Passwords of both.
    pub passwords: Passwords,
    /// What staff identify themselves with.
    pub admin_key: String,
    /// The storefront's.
    pub address: SocketAddr,
    /// Keys in both.
    pub keys: ShopKeys,
}

impl Shop {
    /// Starts everything; its data and logs go to `folder`. It is open when it answers.
    pub async fn start(
        binaries: Binaries,
        durability: Durability,
        tempo: Tempo,
        seed: u64,
        folder: &Path,
    ) -> Result<Self> {
        let passwords = Passwords::random();
        let database = Database::start(durability, passwords.acl(NAME), &folder.join("redis")).await?;
        let provider = RedisStack::start_async(RedisOptions {
            append: Append::Always,
            acl: passwords.acl(NAME),
            directory: Some(folder.join("provider")),
            ..RedisOptions::default()
        })
        .await?;
        let keys = ShopKeys::new(NAME);
        // Groups exist before traffic, as in a cluster.
        crate::duties::ensure_groups(&database, &keys).await?;
        let proxy = Proxy::start(database.address(), seed).await?;
        let admin_key = random_word();
        let settings = Settings {
            binaries,
            tempo,
            redis: proxy.address(),
            provider: (provider.host().to_owned(), provider.port()),
            passwords: [User::Inventory, User::Payments, User::Migration, User::Provider]
                .map(|user| passwords.of(user)),
            admin_key: admin_key.clone(),
            token_keys: format!("k1:{:.64}", random_word() + &random_word()),
            inventory: free_address()?,
            payments: free_address()?,
            storefront: free_address()?,
        };
        let address = settings.storefront;
        let launcher = Box::new(move |role, pod: &str| settings.launch(role, pod));
        Ok(Self {
            fleet: Fleet::start(launcher, &folder.join("logs"), Dice::new(seed))?,
            proxy,
            database,
            provider,
            passwords,
            admin_key,
            address,
            keys,
        })
    }

    /// The storefront's, as a URL without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// What stays the same for every process, however often it is replaced.
struct Settings {
    binaries: Binaries,
    tempo: Tempo,
    redis: SocketAddr,
    provider: (String, u16),
    /// Of inventory, payments, migration and provider.
    passwords: [String; 4],
    admin_key: String,
    token_keys: String,
    inventory: SocketAddr,
    payments: SocketAddr,
    storefront: SocketAddr,
}

type Environment = Vec<(&'static str, String)>;

impl Settings {
    fn launch(&self, role: Role, pod: &str) -> Launch {
        let (program, command) = role.program();
        let program = match program {
            Program::Inventory => self.binaries.inventory.clone(),
            Program::Payments => self.binaries.payments.clone(),
            Program::Storefront => self.binaries.storefront.clone(),
        };
        let mut environment = vec![
            ("SHOP_NAME", NAME.to_owned()),
            ("POD_NAME", pod.to_owned()),
            ("ADMIN_ADDRESS", "127.0.0.1:0".to_owned()),
            ("LOG", "warn,shopwright_streams=info".to_owned()),
        ];
        environment.extend(match role {
            Role::Inventory => self.serving(self.inventory, "inventory", 0),
            Role::InventoryConsumer => self.consuming("inventory", 0),
            Role::Payments => [self.serving(self.payments, "payments", 1), self.paying()].concat(),
            Role::PaymentsConsumer => [self.consuming("payments", 1), self.paying()].concat(),
            Role::Storefront => vec![
                ("LISTEN_ADDRESS", self.storefront.to_string()),
                ("INVENTORY_URL", format!("http://{}", self.inventory)),
                ("PAYMENTS_URL", format!("http://{}", self.payments)),
            ],
        });
        Launch {
            program,
            command,
            environment,
        }
    }

    fn redis(&self, user: &str, password: usize) -> Environment {
        vec![
            ("SHOP_CURRENCY", CURRENCY.to_owned()),
            ("REDIS_HOST", self.redis.ip().to_string()),
            ("REDIS_PORT", self.redis.port().to_string()),
            ("REDIS_USERNAME", user.to_owned()),
            ("REDIS_PASSWORD", self.passwords[password].clone()),
        ]
    }

    fn serving(&self, address: SocketAddr, user: &str, password: usize) -> Environment {
        let mut environment = self.redis(user, password);
        environment.extend([
            ("LISTEN_ADDRESS", address.to_string()),
            ("ADMIN_KEY", self.admin_key.clone()),
            ("MIGRATION_PASSWORD", self.passwords[2].clone()),
            ("ORDER_TOKEN_KEYS", self.token_keys.clone()),
        ]);
        environment
    }

    fn consuming(&self, user: &str, password: usize) -> Environment {
        let mut environment = self.redis(user, password);
        environment.extend([
            (
                "CLAIM_MIN_IDLE_MILLISECONDS",
                self.tempo.claim_min_idle_milliseconds.to_string(),
            ),
            ("BLOCK_MILLISECONDS", "500".to_owned()),
            // Killed more often than a pod would be: none of these deaths is an entry's fault.
            ("MAX_DELIVERIES", "100".to_owned()),
        ]);
        environment
    }

    fn paying(&self) -> Environment {
        let tempo = self.tempo;
        vec![
            ("FEE_PERCENT", "20".to_owned()),
            ("PROVIDER_PASSWORD", self.passwords[3].clone()),
            ("PROVIDER_REDIS_HOST", self.provider.0.clone()),
            ("PROVIDER_REDIS_PORT", self.provider.1.to_string()),
            (
                "PROVIDER_LATENCY_MILLISECONDS",
                tempo.provider_latency_milliseconds.to_string(),
            ),
            // Of the load's orders the dearest few are declined.
            ("PROVIDER_DECLINE_ABOVE_MINOR", "12000".to_owned()),
            ("ORDER_DEADLINE_SECONDS", tempo.order_deadline_seconds.to_string()),
            ("CHARGE_RETRY_SECONDS", tempo.retry_seconds.to_string()),
            ("RELEASE_RETRY_SECONDS", tempo.retry_seconds.to_string()),
            ("LONGEST_RETRY_SECONDS", tempo.longest_retry_seconds.to_string()),
        ]
    }
}
