//! `redis.conf`.

use serde_json::json;
use shopwright_api::{
    Durability,
    names::{self, Component, REDIS_PORT},
};

use super::{Builder, Child};
use crate::shop::kinds::Kind;

/// Where the ConfigMap is mounted.
pub(super) const CONFIG_DIRECTORY: &str = "/etc/shopwright/redis";
/// Where the ACL Secret is mounted.
pub(super) const ACL_DIRECTORY: &str = "/etc/shopwright/acl";
/// Where the volume is mounted.
pub(super) const DATA_DIRECTORY: &str = "/data";
/// Where Redis Stack's image holds its programs and modules.
pub(super) const INSTALLATION: &str = "/opt/redis-stack";

impl Builder<'_> {
    pub(super) fn redis_config(&self) -> Child {
        let config = json!({
            "metadata": self.metadata_named(Component::Redis, &names::redis_config(self.name())),
            "data": {"redis.conf": self.redis_conf()},
        });
        Child::new(Kind::ConfigMap, names::redis_config(self.name()), config)
    }

    pub(super) fn redis_conf(&self) -> String {
        let fsync = match self.shop.redis.durability {
            Durability::Always => "always",
            Durability::EverySecond => "everysec",
        };
        let maxmemory = self.shop.redis_data_bytes;
        // aof-load-truncated: a write cut off by a power loss is dropped instead of keeping Redis down; with fsync always it was never acknowledged.
        // maxmemory: the rest of the limit is for the copy-on-write of a rewrite, client buffers and fragmentation; the kernel kills what exceeds it.
        // noeviction: a database forgets nothing on its own.
        // save "": the append-only file is the data; snapshots beside it would only cost memory.
        format!(
            "bind * -::*\n\
             port {REDIS_PORT}\n\
             protected-mode no\n\
             tcp-keepalive 60\n\
             dir {DATA_DIRECTORY}\n\
             save \"\"\n\
             appendonly yes\n\
             appendfsync {fsync}\n\
             aof-load-truncated yes\n\
             maxmemory {maxmemory}\n\
             maxmemory-policy noeviction\n\
             aclfile {ACL_DIRECTORY}/users.acl\n\
             enable-debug-command no\n\
             loadmodule {INSTALLATION}/lib/rejson.so\n\
             loadmodule {INSTALLATION}/lib/redisearch.so\n"
        )
    }
}
