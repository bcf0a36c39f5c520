//! What the scenarios against a real Kubernetes are written with. Talks to a running cluster, as a user of the product would:
//! by documents, HTTP and Redis; it shares no types with the operator, so a field that changes its name fails here.
//!
//! Without `SHOPWRIGHT_KUBECONFIG` nothing is tried: the runner says what was left out and passes.

pub mod audit;
pub mod bench;
pub mod books;
pub mod cluster;
pub mod consumer_group;
pub mod cpu;
pub mod diagnosis;
pub mod environment;
pub mod figures;
pub mod forward;
pub mod idle;
pub mod kubelet;
pub mod object;
pub mod operator;
pub mod orders;
pub mod own_redis;
pub mod process;
pub mod redis;
pub mod replicas;
pub mod rig;
pub mod runner;
pub mod shop;
pub mod wait;
pub mod workload;
