//! The shop as processes on loopback, without a cluster: Redis Stack, inventory, payments, storefront. Does the operator's two
//! duties by hand, accounts and consumer groups. Everything it starts ends with it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use shopwright_domain::access::User;
use shopwright_domain::keys::{GROUP_INVENTORY, GROUP_PAYMENTS, ShopKeys};
use shopwright_processes::{Processes, free_address};
use shopwright_redis_stack::{Append, Options, RedisStack};
use shopwright_storm::accounts::{Passwords, hexadecimal, random_word};

use crate::interrupt::Interrupt;
use crate::steps::Steps;
use crate::storefront::Shop;
use crate::workspace;

const SHOP: &str = "demo";
const PATIENCE: Duration = Duration::from_secs(60);

/// The binaries of the shop, in the order in which `run` takes them.
const BINARIES: [&str; 3] = ["shopwright-inventory", "shopwright-payments", "shopwright-storefront"];

/// Runs the shop, follows one order to `completed`, and stays up until Ctrl-C unless `once`.
pub(crate) async fn run(once: bool) -> Result<()> {
    // Made first: an interrupt while the services are built or started must not leave folders behind.
    let mut interrupt = Interrupt::new()?;
    let mut steps = Steps::new(4);
    let folder = private_folder()?;
    let binaries = steps.run("build the services", || workspace::build_binaries(&BINARIES))?;
    let passwords = Passwords::random();
    let redis = steps.run("start Redis Stack", || {
        Ok(RedisStack::start(Options {
            append: Append::Always,
            acl: passwords.acl(SHOP),
            ..Options::default()
        })?)
    })?;
    create_groups(&redis).await?;
    let admin_key = random_word();
    let mut processes = Processes::new(&folder.path().join("logs"))?;
    let address = steps.run("start the services", || {
        start_services(&mut processes, &binaries, &redis, &passwords, &admin_key)
    })?;
    let shop = Shop::new(&address, &admin_key)?;
    let order = tokio::select! {
        order = steps.follow("place an order and follow it", shop.demonstrate(PATIENCE)) => order,
        failure = watch(&mut processes) => Err(failure),
        () = interrupt.received() => bail!("interrupted before the order was done"),
    };
    let order = order.with_context(|| format!("the logs are in {}", keep_logs(folder.path())))?;
    println!("order {} {} after {} ms", order.id, order.state, order.took.as_millis());
    if once {
        return Ok(());
    }
    println!(
        "storefront  {address}/\nadmin key   {admin_key}\nverify      VERIFY_PASSWORD={} cargo xtask verify --redis {}:{} \
         --shop {SHOP}\nlogs        {}/logs\nCtrl-C ends it.",
        passwords.of(User::Verify),
        redis.host(),
        redis.port(),
        folder.path().display()
    );
    tokio::select! {
        failure = watch(&mut processes) => Err(failure),
        () = interrupt.received() => Ok(()),
    }
}

/// Logs are in it, which only this user should read.
fn private_folder() -> Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    Ok(builder
        .prefix("shopwright-dev-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()?)
}

/// What the operator does in a cluster: groups exist before traffic, at the beginning of their streams.
async fn create_groups(redis: &RedisStack) -> Result<()> {
    let keys = ShopKeys::new(SHOP);
    let mut connection = redis.client()?.get_multiplexed_async_connection().await?;
    for (stream, group) in [
        (keys.payments_events(), GROUP_INVENTORY),
        (keys.inventory_events(), GROUP_PAYMENTS),
        (keys.payments_jobs(), GROUP_PAYMENTS),
    ] {
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(stream).arg(group).arg("0").arg("MKSTREAM");
        create.query_async::<()>(&mut connection).await?;
    }
    Ok(())
}

/// Starts the five processes of a shop; returns the storefront's address.
fn start_services(
    processes: &mut Processes,
    binaries: &[PathBuf],
    redis: &RedisStack,
    passwords: &Passwords,
    admin_key: &str,
) -> Result<String> {
    let [inventory, payments, storefront] = binaries else {
        bail!("three binaries make a shop")
    };
    let (inventory_address, payments_address, storefront_address) = (free_address()?, free_address()?, free_address()?);
    let service = |user: User, name: &str, extra: &[(&'static str, String)]| -> Result<Vec<(&'static str, String)>> {
        let mut environment = vec![
            ("SHOP_NAME", SHOP.to_owned()),
            ("SHOP_CURRENCY", "EUR".to_owned()),
            ("ADMIN_ADDRESS", free_address()?.to_string()),
            ("REDIS_HOST", redis.host().to_owned()),
            ("REDIS_PORT", redis.port().to_string()),
            ("REDIS_USERNAME", user.name().to_owned()),
            ("REDIS_PASSWORD", passwords.of(user)),
            ("POD_NAME", name.to_owned()),
        ];
        environment.extend_from_slice(extra);
        Ok(environment)
    };
    let serving = |address: std::net::SocketAddr| {
        [
            ("LISTEN_ADDRESS", address.to_string()),
            ("ADMIN_KEY", admin_key.to_owned()),
            ("FEE_PERCENT", "20".to_owned()),
            ("MIGRATION_PASSWORD", passwords.of(User::Migration)),
        ]
    };
    let paying = [
        ("FEE_PERCENT", "20".to_owned()),
        ("PROVIDER_PASSWORD", passwords.of(User::Provider)),
    ];
    let mut start = |name: &str, program: &Path, command: &str, environment: Vec<(&'static str, String)>| {
        processes
            .start(name, program, &[command], &environment)
            .with_context(|| format!("cannot start {name}"))
    };
    let environment = service(User::Inventory, "inventory", &serving(inventory_address))?;
    start("inventory", inventory, "serve", environment)?;
    let mut environment = service(User::Payments, "payments", &serving(payments_address))?;
    environment.push((
        "ORDER_TOKEN_KEYS",
        format!("1:{}", hexadecimal(&Sha256::digest(random_word()))),
    ));
    start("payments", payments, "serve", environment)?;
    start(
        "inventory-consumer",
        inventory,
        "consume",
        service(User::Inventory, "inventory-consumer", &[])?,
    )?;
    start(
        "payments-consumer",
        payments,
        "consume",
        service(User::Payments, "payments-consumer", &paying)?,
    )?;
    let gateway = vec![
        ("SHOP_NAME", SHOP.to_owned()),
        ("LISTEN_ADDRESS", storefront_address.to_string()),
        ("ADMIN_ADDRESS", free_address()?.to_string()),
        ("INVENTORY_URL", format!("http://{inventory_address}")),
        ("PAYMENTS_URL", format!("http://{payments_address}")),
    ];
    start("storefront", storefront, "serve", gateway)?;
    Ok(format!("http://{storefront_address}"))
}

/// Returns when a process has ended, which none should.
async fn watch(processes: &mut Processes) -> anyhow::Error {
    loop {
        match processes.ended() {
            Ok(None) => {}
            Ok(Some(ended)) => return ended.into(),
            Err(error) => return error.into(),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Moves the logs out of the temporary folder, so that a failure can be read after everything is gone.
fn keep_logs(folder: &Path) -> String {
    let kept = folder.with_extension("logs");
    match std::fs::rename(folder.join("logs"), &kept) {
        Ok(()) => kept.display().to_string(),
        Err(_) => folder.join("logs").display().to_string(),
    }
}
