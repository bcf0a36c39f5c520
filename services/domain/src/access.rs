//! Who may do what in a shop's Redis: one ACL line per user. Every service is given its own keys, and of the other's only
//! what reading its stream takes; nobody can write into the other's stream, plain or inside a script.

use crate::keys::{GROUP_INVENTORY, GROUP_PAYMENTS, ShopKeys};

/// The line that shuts out whoever has no name. Only the door is shut, and the rights stay: when Redis loads its
/// append-only file, it replays every transaction with the rights of `default`, and every effect of a script is one.
/// With `-@all` here, a restart logs NOPERM per transaction and comes up without the data (seen on 7.4.1).
pub const DEFAULT_OFF: &str = "user default off resetpass ~* &* +@all";

/// A user of a shop's Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum User {
    /// The operator: groups, their figures and what is left to them, on streams only. It adds to dead letters and to nothing
    /// else, so that it cannot forge an event.
    Operator,
    /// The inventory service.
    Inventory,
    /// The payments service.
    Payments,
    /// The simulated provider, which has a book of its own.
    Provider,
    /// Makes and changes search indexes, which reach into everybody's documents; used for moments only.
    Migration,
    /// Reads everything and writes nothing: compares the books of all parties.
    Verify,
}

/// What any connection needs to be opened and kept.
const CONNECTION: &str = "+ping +client|setinfo +client|setname +client|id +select +time";
/// Scripts.
const SCRIPTS: &str = "+eval +eval_ro +evalsha +evalsha_ro +script|load +script|exists";
/// Plain data of a service's own: documents, hashes, sorted sets, its own streams. Nothing that destroys a stream
/// (DEL, SET, XDEL, XTRIM), no KEYS or SCAN, nothing administrative.
const DATA: &str = "+exists +type +hmget +hset +hincrby +zadd +zrem +zrangebyscore +json.get +json.mget +json.set \
    +json.merge +ft.search +ft.info +xadd";
/// How full Redis is.
const MEMORY: &str = "+info";
/// Only with keys by `%R`: what comparing all books takes, a second look by one script included.
const READ: &str = "+exists +type +scan +hget +hmget +hgetall +zrange +zrangebyscore +zscore +zcard \
    +xrange +xrevrange +xlen +xpending +xinfo|stream +xinfo|groups +eval_ro +evalsha_ro +script|load";
/// Reads that RedisJSON declares as writes (seen on 2.8.3), hence in a selector of their own, with keys by `~`.
const READ_DOCUMENTS: &str = "+json.get +json.mget";
/// What reading a stream through a group takes, up to leaving the group.
/// `XREADGROUP` is a write, hence keys by `%RW`.
const READ_GROUP: &str = "+xreadgroup +xack +xclaim +xautoclaim +xpending +xgroup|delconsumer";

impl User {
    /// Every user.
    pub const ALL: [Self; 6] = [
        Self::Operator,
        Self::Inventory,
        Self::Payments,
        Self::Provider,
        Self::Migration,
        Self::Verify,
    ];

    /// The name in Redis.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Inventory => "inventory",
            Self::Payments => "payments",
            Self::Provider => "provider",
            Self::Migration => "migration",
            Self::Verify => "verify",
        }
    }

    fn rules(self, keys: &ShopKeys) -> String {
        let (inventory, payments) = (keys.inventory_prefix(), keys.payments_prefix());
        match self {
            Self::Operator => {
                let streams = [keys.payments_events(), keys.payments_jobs(), keys.inventory_events()];
                let patterns: Vec<_> = streams.iter().map(|key| format!("~{key} ~{key}:dead:*")).collect();
                let dead: Vec<_> = streams.iter().map(|key| format!("%RW~{key}:dead:*")).collect();
                format!(
                    "{} {CONNECTION} {SCRIPTS} +info +type +exists +xgroup|create +xgroup|setid +xgroup|delconsumer +xinfo \
                     +xpending +xlen +xread +xrange +xrevrange +xclaim +xack +xtrim ({} +xadd)",
                    patterns.join(" "),
                    dead.join(" ")
                )
            }
            Self::Inventory => service(&inventory, &keys.payments_events(), GROUP_INVENTORY),
            Self::Payments => format!(
                "{} &{} +publish +subscribe +unsubscribe",
                service(&payments, &keys.inventory_events(), GROUP_PAYMENTS),
                keys.payments_changes()
            ),
            // SET: whoever tries a shop out tells its provider, by a key of the provider's own, to answer nobody for a while.
            Self::Provider => format!(
                "~{}* {CONNECTION} {SCRIPTS} +exists +get +set +hget +hgetall +hmget +hset +hincrby +lpop",
                keys.provider_prefix()
            ),
            Self::Migration => format!(
                "~{inventory}* ~{payments}* {CONNECTION} +eval +ft.create +ft.alter +ft.dropindex +ft.aliasadd +ft.aliasupdate \
                 +ft.aliasdel +ft.info"
            ),
            Self::Verify => format!(
                "%R~{inventory}* %R~{payments}* %R~{}* {CONNECTION} {READ} (~{inventory}* ~{payments}* {READ_DOCUMENTS})",
                keys.provider_prefix()
            ),
        }
    }
}

/// A service's own keys in full; of the other's stream what a reader takes, and of its dead letters what a reader adds, in
/// selectors of their own, since together they would allow to append to the stream itself. A script may name keys of all
/// three, and each command in it needs a selector as it does outside. What would destroy a stream is allowed where none can
/// be: SET on the marks of requests, XDEL on the dead letters of its own streams.
fn service(own: &str, foreign_stream: &str, group: &str) -> String {
    let dead = ShopKeys::dead_letters(foreign_stream, group);
    format!(
        "~{own}* {CONNECTION} {SCRIPTS} {DATA} {MEMORY} {READ_GROUP} \
         (~{own}idempotency:* +get +set) (~{own}*:dead:* +xrange +xlen +xdel) \
         (~{own}* %RW~{foreign_stream} %RW~{dead} {SCRIPTS}) (%RW~{foreign_stream} {READ_GROUP}) \
         (%R~{foreign_stream} +type +xrange) (%RW~{dead} +xadd)"
    )
}

/// One line of `users.acl`, without its newline. The password is given as the 64 hex digits of its SHA-256.
pub fn acl_line(user: User, shop: &str, password_sha256_hex: &str) -> String {
    let rules = user.rules(&ShopKeys::new(shop));
    format!(
        "user {} on #{password_sha256_hex} resetkeys resetchannels -@all {rules}",
        user.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_one_line_each_and_hold_no_other_pattern() {
        for user in User::ALL {
            let line = acl_line(user, "demo", &"a".repeat(64));
            assert!(line.starts_with(&format!("user {} on #aaaa", user.name())));
            assert!(
                !line.contains('\n') && !line.contains("  ") && !line.contains("+@") && !line.contains("~*"),
                "{line}"
            );
        }
    }

    #[test]
    fn no_service_can_destroy_a_stream() {
        for user in [User::Inventory, User::Payments] {
            let line = acl_line(user, "demo", "");
            // SET and XDEL stand in selectors of their own, whose keys are no streams that a group reads.
            let harmless = |selector: &&str| !selector.contains("idempotency:*") && !selector.contains("*:dead:*");
            let (root, selectors) = line.split_once('(').unwrap();
            for part in std::iter::once(root).chain(selectors.split('(').filter(harmless)) {
                for word in [
                    "+del",
                    "+set",
                    "+unlink",
                    "+rename",
                    "+xdel",
                    "+xtrim",
                    "+json.del",
                    "+pexpire",
                ] {
                    assert!(!part.split([' ', ')']).any(|rule| rule == word), "{user:?} {word}");
                }
            }
            assert_eq!(line.matches("+xdel").count(), 1);
            assert_eq!(line.matches("+set ").count() + line.matches("+set)").count(), 1);
        }
    }

    #[test]
    fn a_stream_of_others_is_never_in_a_selector_that_appends() {
        // A service names it in scripts, reads it through its group, and looks for single entries.
        for (user, stream, selectors) in [
            (User::Inventory, "{demo-payments}:events ", 3),
            (User::Payments, "{demo-inventory}:events ", 3),
            (User::Operator, "{demo-payments}:events ", 1),
            (User::Operator, "{demo-payments}:jobs ", 1),
            (User::Operator, "{demo-inventory}:events ", 1),
        ] {
            let line = acl_line(user, "demo", "");
            for selector in line.split('(').filter(|selector| selector.contains(stream)) {
                assert!(!selector.contains("+xadd"), "{selector}");
            }
            assert_eq!(line.matches(stream).count(), selectors, "{line}");
        }
    }
}
