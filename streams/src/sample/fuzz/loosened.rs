//! The rule with one hole each. The fuzz is worth something only if it finds them all.

use super::{SOURCE, Tally, play};

/// More than enough to find each.
const SAMPLES: u64 = 100_000;

/// What is loosened; the place in the script; what stands there instead.
const HOLES: [(&str, &str, &str); 10] = [
    (
        "deletions behind the anchor",
        "if removed > 0 and less(anchor.id, deleted) then return nil end",
        "",
    ),
    (
        "deletions that did not raise the largest deleted id",
        "if removed > 0 and less(anchor.id, deleted) then return nil end",
        "if removed > 0 and less(anchor.generated, deleted) then return nil end",
    ),
    (
        "trims behind the anchor",
        "if count('XREVRANGE', key, anchor.id, '-', 'COUNT', 1) == 0 then return length end",
        "",
    ),
    (
        "a group that was set back",
        "return behind + #way end",
        "return behind end",
    ),
    (
        "the reported lag alone",
        "if exact then return exact, 'anchor' end",
        "if exact and found['lag'] then return found['lag'], 'anchor' end
         if exact then return exact, 'anchor' end",
    ),
    (
        "the reported lag where nothing behind the anchor can have been removed",
        "if exact then return exact, 'anchor' end",
        "local new, read = added - tonumber(ARGV[9]), found['entries-read']
         local gone = new - (length - tonumber(ARGV[8]))
         if found['lag'] and read and read >= tonumber(ARGV[9]) - tonumber(ARGV[7]) and new >= 0
           and (gone == 0 or (gone > 0 and gone <= tonumber(ARGV[8]) - tonumber(ARGV[7]) and not less(ARGV[6], deleted)))
         then return found['lag'], 'anchor' end
         if exact then return exact, 'anchor' end",
    ),
    (
        "an anchor that the stream has not reached",
        "if id == LAST_ID or less(generated, id) then",
        "if id == LAST_ID then",
    ),
    (
        "an anchor moved one entry too far",
        "anchor_at(way[far][1], behind - far,",
        "anchor_at(way[far][1], behind - far - 1,",
    ),
    (
        "ids compared as text",
        "if #a ~= #b then return #a < #b end",
        "",
    ),
    (
        "the newest deleted entry as no ghost",
        "or not less(deleted, id)) and not exists(id)",
        "or less(id, deleted)) and not exists(id)",
    ),
];

#[tokio::test]
async fn every_loosened_rule_is_found() {
    let mut missed = Vec::new();
    for (name, place, instead) in HOLES {
        assert_eq!(SOURCE.matches(place).count(), 1, "{place}");
        let mut tally = Tally::default();
        match play(&SOURCE.replace(place, instead), 0, SAMPLES, &mut tally).await {
            Ok(()) => missed.push(name),
            Err(failure) => println!("{name}: found after {} samples, {failure}", tally.samples),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:#?}");
}
