//! Every rendered `NetworkPolicy` over the whole matrix of peers and ports, judged by a small evaluator of Kubernetes's rules:
//! a pod that any policy selects for a direction is closed in it, but for what some selecting policy allows.

use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use serde_json::json;
use shopwright_api::names::{self, Component};
use std::collections::BTreeMap;

use super::children;
use crate::shop::{
    credentials::for_tests,
    kinds::Kind,
    settings::Settings,
    validate::{shop_for_tests, validate},
};

#[derive(Clone)]
struct Pod {
    name: String,
    namespace: &'static str,
    labels: BTreeMap<String, String>,
}

impl Pod {
    fn part(shop: &str, component: Component) -> Self {
        Self {
            name: component.object_name(shop),
            namespace: "shops",
            labels: names::component_labels(shop, component),
        }
    }

    fn stranger(namespace: &'static str) -> Self {
        Self {
            name: format!("stranger in {namespace}"),
            namespace,
            labels: BTreeMap::new(),
        }
    }

    fn operator(namespace: &'static str) -> Self {
        Self {
            name: format!("operator in {namespace}"),
            namespace,
            labels: names::operator_pods(),
        }
    }

    /// An operator whose helm release is called like the Shop, in the Shop's namespace.
    fn namesake_operator() -> Self {
        let mut operator = Self::operator("shops");
        operator.labels.insert(names::LABEL_INSTANCE.into(), "demo".into());
        operator.labels.insert(names::LABEL_MANAGED_BY.into(), "Helm".into());
        operator
    }
}

fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    assert!(
        selector.match_expressions.is_none(),
        "the evaluator does not know expressions"
    );
    selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value))
}

fn is_peer(peer: &NetworkPolicyPeer, pod: &Pod) -> bool {
    assert!(peer.ip_block.is_none(), "the evaluator does not know address blocks");
    let namespace = match &peer.namespace_selector {
        Some(selector) => {
            let labels = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), pod.namespace.to_owned())]);
            selects(selector, &labels)
        }
        None => pod.namespace == "shops",
    };
    namespace
        && peer
            .pod_selector
            .as_ref()
            .is_none_or(|selector| selects(selector, &pod.labels))
}

fn opens(
    peers: Option<&Vec<NetworkPolicyPeer>>,
    ports: Option<&Vec<NetworkPolicyPort>>,
    pod: &Pod,
    port: (&str, i32),
) -> bool {
    let peer = peers.is_none_or(|peers| peers.iter().any(|peer| is_peer(peer, pod)));
    let port_open = ports.is_none_or(|ports| {
        ports
            .iter()
            .any(|it| it.protocol.as_deref() == Some(port.0) && it.port == Some(IntOrString::Int(port.1)))
    });
    peer && port_open
}

struct Cluster(Vec<NetworkPolicy>);

impl Cluster {
    fn of(spec: serde_json::Value) -> Self {
        let shop = validate(&shop_for_tests(spec), &Settings::for_tests()).unwrap();
        let policies = children(&shop, &Settings::for_tests(), &for_tests(), None)
            .into_iter()
            .filter(|child| child.kind == Kind::NetworkPolicy)
            .map(|child| serde_json::from_value(child.object).unwrap());
        Self(policies.collect())
    }

    fn selecting(&self, pod: &Pod, direction: &str) -> Vec<&NetworkPolicy> {
        let selecting = |policy: &&NetworkPolicy| {
            let spec = policy.spec.as_ref().unwrap();
            pod.namespace == "shops"
                && spec
                    .pod_selector
                    .as_ref()
                    .is_none_or(|selector| selects(selector, &pod.labels))
                && spec.policy_types.iter().flatten().any(|it| it == direction)
        };
        self.0.iter().filter(selecting).collect()
    }

    fn allows(&self, from: &Pod, to: &Pod, port: (&str, i32)) -> bool {
        let out = self.selecting(from, "Egress");
        let leaves = out.is_empty()
            || out
                .iter()
                .flat_map(|it| it.spec.iter().flat_map(|spec| spec.egress.iter().flatten()))
                .any(|rule| opens(rule.to.as_ref(), rule.ports.as_ref(), to, port));
        let within = self.selecting(to, "Ingress");
        let enters = within.is_empty()
            || within
                .iter()
                .flat_map(|it| it.spec.iter().flat_map(|spec| spec.ingress.iter().flatten()))
                .any(|rule| opens(rule.from.as_ref(), rule.ports.as_ref(), from, port));
        leaves && enters
    }
}

const PORTS: [(&str, i32); 6] = [
    ("TCP", 8080),
    ("TCP", 9090),
    ("TCP", 6379),
    ("TCP", 53),
    ("UDP", 53),
    ("TCP", 443),
];

fn everybody() -> Vec<Pod> {
    let mut pods: Vec<_> = Component::ALL
        .into_iter()
        .map(|component| Pod::part("demo", component))
        .collect();
    pods.extend(
        Component::ALL
            .into_iter()
            .map(|component| Pod::part("other", component)),
    );
    pods.extend([
        Pod::stranger("shops"),
        Pod::stranger("elsewhere"),
        Pod::stranger("kube-system"),
        Pod::operator("shopwright-system"),
        Pod::operator("elsewhere"),
        Pod::namesake_operator(),
    ]);
    pods
}

/// What should be allowed to and from pods of the shop, said once more in other words.
fn expected(from: &Pod, to: &Pod, port: (&str, i32), storefront: bool) -> bool {
    let ours = |pod: &Pod| pod.namespace == "shops" && pod.name.starts_with("demo-");
    let is = |pod: &Pod, names: &[&str]| ours(pod) && names.iter().any(|name| pod.name == format!("demo-{name}"));
    let redis_clients = ["inventory", "payments", "inventory-consumer", "payments-consumer"];
    let may_leave = !ours(from)
        || match port {
            ("TCP" | "UDP", 53) => is(from, &redis_clients) || is(from, &["storefront"]),
            ("TCP", 6379) => is(from, &redis_clients) && is(to, &["redis"]),
            ("TCP", 8080) => is(from, &["storefront"]) && is(to, &["inventory", "payments"]),
            _ => false,
        };
    let operator = from.name == "operator in shopwright-system";
    let may_enter = !ours(to)
        || match port {
            ("TCP", 6379) => is(to, &["redis"]) && (is(from, &redis_clients) || operator),
            ("TCP", 8080) if is(to, &["storefront"]) => true,
            ("TCP", 8080) if is(to, &["inventory", "payments"]) => {
                if storefront {
                    is(from, &["storefront"])
                } else {
                    from.namespace == "shops"
                }
            }
            ("TCP", 9090) => !is(to, &["redis"]) && from.namespace == "shops",
            _ => false,
        };
    may_leave && may_enter
}

#[test]
fn the_whole_matrix() {
    let cluster = Cluster::of(json!({}));
    let mut allowed = 0;
    for from in everybody() {
        for to in everybody() {
            for port in PORTS {
                let expected = expected(&from, &to, port, true);
                assert_eq!(
                    cluster.allows(&from, &to, port),
                    expected,
                    "{} -> {} {port:?}",
                    from.name,
                    to.name
                );
                allowed += usize::from(expected);
            }
        }
    }
    assert!(allowed > 0, "a matrix that allows nothing proves nothing");
}

#[test]
fn without_a_storefront_the_namespace_takes_its_place() {
    let cluster = Cluster::of(json!({"storefront": {"enabled": false}}));
    let parts = everybody().into_iter().filter(|pod| pod.name != "demo-storefront");
    for from in parts.clone() {
        for to in parts.clone() {
            for port in PORTS {
                let expected = expected(&from, &to, port, false);
                assert_eq!(
                    cluster.allows(&from, &to, port),
                    expected,
                    "{} -> {} {port:?}",
                    from.name,
                    to.name
                );
            }
        }
    }
}

#[test]
fn redis_opens_no_connection_at_all() {
    let cluster = Cluster::of(json!({}));
    for to in everybody() {
        for port in PORTS {
            assert!(
                !cluster.allows(&Pod::part("demo", Component::Redis), &to, port),
                "{} {port:?}",
                to.name
            );
        }
    }
}

#[test]
fn switched_off_there_is_none() {
    assert!(Cluster::of(json!({"networkPolicy": {"enabled": false}})).0.is_empty());
}
