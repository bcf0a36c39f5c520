//! TLS from the Secret to the connection: trusted, refused, and changed without a restart.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
        // Without names of their own, issuer and issued look like one and the same.
        parameters.distinguished_name.push(DnType::CommonName, "an authority");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(parameters, key).expect("a certificate"))
    }

    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new([name.to_owned()]).expect("parameters");
        let certificate = parameters.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

/// Writes what Redis reads, and answers the options that name it.
fn arrange(folder: &Path, server: &Authority, clients: &Authority) -> Vec<(&'static str, String)> {
    let (certificate, key) = server.issue("redis.example.com");
    [
        ("tls-cert-file", "server.crt", certificate),
        ("tls-key-file", "server.key", key),
        ("tls-ca-cert-file", "clients.crt", clients.0.pem()),
    ]
    .into_iter()
    .map(|(option, file, text)| {
        let path = folder.join(file);
        std::fs::write(&path, text).expect("written");
        (option, path.to_str().expect("text").to_owned())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_read_again_when_they_are_refused_and_nothing_is_restarted() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, clients, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port();
    let mut options = Options::plain();
    options.arguments = arrange(folder.path(), &server, &clients)
        .into_iter()
        .chain([("tls-port", port.to_string()), ("tls-auth-clients", "yes".to_owned())])
        .flat_map(|(option, value)| [format!("--{option}"), value])
        .collect();
    let redis = RedisStack::start_async(options).await.expect("Redis starts");
    let mut connection = connect(&redis).await;
    let recorder = Recorder::default();
    let secret = |authority: &Authority, identity: Option<&(String, String)>| {
        let ca = authority.0.pem();
        let mut data = vec![("ca.crt", ca.as_str())];
        if let Some((certificate, key)) = identity {
            data.extend([("tls.crt", certificate.as_str()), ("tls.key", key.as_str())]);
        }
        recorder.set_secret("certificates", &data);
    };
    let ready = || {
        recorder
            .condition("secure", condition::READY)
            .map(|(_, reason)| reason)
            .unwrap_or_default()
    };
    let identity = clients.issue("operator");
    secret(&stranger, Some(&identity));
    let plan = plan(port, "secure", |spec| {
        spec.redis.tls = Some(shopwright_api::RedisTls {
            secret_ref: Some(shopwright_api::SecretReference {
                name: "certificates".to_owned(),
            }),
            server_name: Some("redis.example.com".to_owned()),
        });
    });
    let _running = start(&recorder, [assignment(plan, 0)], anywhere());
    eventually("not the server's CA", || ready() == "TlsFailed").await;
    secret(&server, Some(&identity));
    eventually("trusted", || recorder.is_ready("secure")).await;
    add(&mut connection, "secure-stream").await;
    eventually("woken", || recorder.scales() == [("secure-worker".to_owned(), 1)]).await;

    // The server gets certificates of other authorities; open connections end.
    for (option, path) in arrange(folder.path(), &stranger, &stranger) {
        let set = ["SET", option, path.as_str()];
        // Half-way through, key and certificate do not fit; the last one loads all three.
        let _ = redis::cmd("CONFIG").arg(&set).exec_async(&mut connection).await;
    }
    let mut all = redis::cmd("CONFIG");
    all.arg("SET");
    for file in [
        "tls-cert-file server.crt",
        "tls-key-file server.key",
        "tls-ca-cert-file clients.crt",
    ] {
        let (option, name) = file.split_once(' ').expect("two words");
        all.arg(option).arg(folder.path().join(name).to_str().expect("text"));
    }
    all.exec_async(&mut connection).await.expect("CONFIG SET");
    let kill = ["KILL", "TYPE", "normal", "SKIPME", "yes"];
    redis::cmd("CLIENT")
        .arg(&kill)
        .exec_async(&mut connection)
        .await
        .expect("CLIENT KILL");
    eventually("neither trusts the other", || ready() == "TlsFailed").await;
    secret(&stranger, None);
    eventually("one is not enough", || {
        recorder.with(|seen| seen.secret_reads) > 6 && ready() == "TlsFailed"
    })
    .await;
    secret(&stranger, Some(&stranger.issue("operator")));
    eventually("rotated", || recorder.is_ready("secure")).await;
    let everything = recorder.with(|seen| format!("{:?} {:?}", seen.status, seen.notices));
    assert!(!everything.contains("PRIVATE"), "{everything}");
}
