//! Certificates and keys of one cluster: one authority, short-lived by use, deleted with the state folder.

use crate::{
    config::{NODE_ADDRESS, NODE_NAME, SERVICE_ADDRESS},
    paths::StateDir,
};
use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::{fs, os::unix::fs::OpenOptionsExt as _, path::Path};

/// Who a client certificate speaks for: file name, common name (user), organization (group).
pub(crate) const CLIENTS: [(&str, &str, Option<&str>); 8] = [
    ("admin", "shopwright:admin", Some("system:masters")),
    ("controller-manager", "system:kube-controller-manager", None),
    ("scheduler", "system:kube-scheduler", None),
    ("proxy", "system:kube-proxy", None),
    ("kubelet", "system:node:shopwright", Some("system:nodes")),
    ("coredns", "system:coredns", None),
    (
        "apiserver-kubelet",
        "kube-apiserver-kubelet-client",
        Some("system:masters"),
    ),
    ("front-proxy", "front-proxy-client", None),
];

/// Writes `pki/` in the state folder: `ca`, `apiserver` (serving), one pair per client, and the service accounts' signing key.
pub(crate) fn write(state: &StateDir) -> anyhow::Result<()> {
    let folder = state.join("pki");
    fs::create_dir_all(&folder)?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::CrlSign,
    ];
    authority
        .distinguished_name
        .push(DnType::CommonName, format!("shopwright cluster {}", state.id()));
    let key = KeyPair::generate()?;
    write_pair(&folder, "ca", &authority.self_signed(&key)?.pem(), &key)?;
    let issuer = Issuer::new(authority, key);

    let names = [
        "127.0.0.1",
        NODE_ADDRESS,
        SERVICE_ADDRESS,
        NODE_NAME,
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    let mut serving = CertificateParams::new(names.map(str::to_owned))?;
    serving.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    serving.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign(&folder, "apiserver", serving, &issuer)?;

    for (name, user, group) in CLIENTS {
        let mut client = CertificateParams::new(Vec::new())?;
        client.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            client.distinguished_name.push(DnType::OrganizationName, group);
        }
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        sign(&folder, name, client, &issuer)?;
    }
    let tokens = KeyPair::generate()?;
    fs::write(folder.join("service-accounts.pub"), tokens.public_key_pem())?;
    write_secret(&folder.join("service-accounts.key"), &tokens.serialize_pem())
}

fn sign(folder: &Path, name: &str, mut params: CertificateParams, issuer: &Issuer<'_, KeyPair>) -> anyhow::Result<()> {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer).with_context(|| format!("sign {name}"))?;
    write_pair(folder, name, &certificate.pem(), &key)
}

fn write_pair(folder: &Path, name: &str, certificate: &str, key: &KeyPair) -> anyhow::Result<()> {
    fs::write(folder.join(format!("{name}.crt")), certificate)?;
    write_secret(&folder.join(format!("{name}.key")), &key.serialize_pem())
}

/// Writes a file that only its owner may read, from the first byte on.
pub(crate) fn write_secret(path: &Path, content: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| path.display().to_string())?;
    file.write_all(content.as_bytes())?;
    Ok(())
}
