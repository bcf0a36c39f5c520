//! TLS with a real server: who is trusted, who has to show a certificate, and what a failure is called.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use shopwright_redis_stack::{Options, RedisStack};
use shopwright_streams::connection::{Mode, Tls, Vet};
use shopwright_streams::{Class, Client, Endpoint};
use std::path::Path;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        // Without names of their own, issuer and issued look like one and the same.
        parameters.distinguished_name.push(DnType::CommonName, "an authority");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key for a name.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new([name.to_owned()]).unwrap();
        (parameters.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// A Redis that speaks TLS on a second port and wants a certificate that `clients` signed.
fn start(folder: &Path, server: &Authority, clients: &Authority, name: &str) -> (RedisStack, u16) {
    let (certificate, key) = server.issue(name);
    let write = |file: &str, text: &str| {
        let path = folder.join(file);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut options = Options::plain();
    options.arguments = [
        ["--tls-port".to_owned(), port.to_string()],
        ["--tls-cert-file".to_owned(), write("server.crt", &certificate)],
        ["--tls-key-file".to_owned(), write("server.key", &key)],
        ["--tls-ca-cert-file".to_owned(), write("clients.crt", &clients.pem())],
        ["--tls-auth-clients".to_owned(), "yes".to_owned()],
    ]
    .concat();
    (RedisStack::start(options).unwrap(), port)
}

async fn ping(port: u16, tls: Tls) -> Result<(), Class> {
    let client = Client::new(Endpoint::new("127.0.0.1", port).with_tls(tls));
    client.ping().await.map_err(|error| error.class())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_show_a_certificate_that_the_other_trusts_or_nothing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (server, clients, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let (_redis, port) = start(folder.path(), &server, &clients, "redis.example.com");
    let (certificate, key) = clients.issue("operator");
    let trusting = || {
        let tls = Tls::default().with_authority(server.pem()).unwrap();
        tls.with_server_name("redis.example.com").unwrap()
    };
    let whole = || trusting().with_identity(certificate.clone(), key.clone()).unwrap();

    assert_eq!(ping(port, whole()).await, Ok(()));
    let client = Client::new(Endpoint::new("127.0.0.1", port).with_tls(whole()));
    assert_eq!(client.mode().await, Ok(Mode::Standalone));

    assert_eq!(ping(port, trusting()).await, Err(Class::Tls), "no certificate of ours");
    let (other, other_key) = stranger.issue("operator");
    let unknown = trusting().with_identity(other, other_key).unwrap();
    assert_eq!(
        ping(port, unknown).await,
        Err(Class::Tls),
        "a certificate the server does not know"
    );
    let wrong_authority = whole().with_authority(stranger.pem()).unwrap();
    assert_eq!(
        ping(port, wrong_authority).await,
        Err(Class::Tls),
        "not the server's CA"
    );
    let wrong_name = whole().with_server_name("elsewhere.example.com").unwrap();
    assert_eq!(ping(port, wrong_name).await, Err(Class::Tls), "another server's name");
    let public = Tls::default().with_server_name("redis.example.com").unwrap();
    assert_eq!(ping(port, public).await, Err(Class::Tls), "no public root signed this");

    let vetted = Client::vetted(
        Endpoint::new("127.0.0.1", port).with_tls(whole()),
        Vet::new(|address| !address.is_loopback()),
    );
    assert_eq!(
        vetted.ping().await.map_err(|error| error.class()),
        Err(Class::ForbiddenAddress),
        "a server name opens no way round the vetting"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_cluster_says_so_to_a_user_without_any_right() {
    let mut options = Options::plain();
    options.arguments = ["--cluster-enabled", "yes"].map(str::to_owned).into();
    let redis = RedisStack::start(options).unwrap();
    let mut connection = redis
        .client()
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let user = ["SETUSER", "nobody", "on", "nopass", "-@all"];
    redis::cmd("ACL").arg(&user).exec_async(&mut connection).await.unwrap();
    let endpoint = Endpoint::new(redis.host(), redis.port());
    assert_eq!(Client::new(endpoint.clone()).mode().await, Ok(Mode::Cluster));
    let nobody = endpoint.with_user("nobody", shopwright_streams::Secret::new("any"));
    assert_eq!(Client::new(nobody).mode().await, Ok(Mode::Cluster));
}
