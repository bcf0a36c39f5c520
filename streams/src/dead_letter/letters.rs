//! What is done with dead letters: look, replay, drop. Touches the dead letters; a replay adds to their source stream.

use super::packed::{PACKED, unpack};
use crate::connection::Shared;
use crate::entry_id::EntryId;
use crate::error::Error;

/// What comes before the original fields: four names, each with its value.
const HEADER: [&str; 4] = [
    "dead-letter.reason",
    "dead-letter.id",
    "dead-letter.deliveries",
    "dead-letter.consumer",
];

/// Answers 1, 0 when there is no such dead letter, or 2 when its fields are packed and a script cannot add them.
/// KEYS: source stream, dead letters. ARGV: id of the dead letter, the four names, the name of what is packed.
const REPLAY: &str = r"
local letter = redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])[1]
if not letter then return 0 end
local fields = letter[2]
for i = 1, 4 do
  if fields[2 * i - 1] ~= ARGV[1 + i] then return redis.error_reply('ERR not a dead letter') end
end
if fields[9] == ARGV[6] then return 2 end
redis.call('XADD', KEYS[1], '*', unpack(fields, 9))
redis.call('XDEL', KEYS[2], ARGV[1])
return 1
";

/// An entry that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id among the dead letters; the milliseconds say when it was given up.
    pub id: EntryId,
    /// Why: a fixed word.
    pub reason: String,
    /// The id it had in its stream, which also says when it was added.
    pub entry: EntryId,
    /// How often it had been delivered.
    pub deliveries: u64,
    /// Who had it last.
    pub consumer: String,
    /// Names and values of the entry, in its order.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// At most `count` dead letters behind `after`, oldest first. What somebody else put into the stream is passed over.
///
/// Commands used: XRANGE.
pub async fn list(shared: &Shared, dead_key: &str, after: EntryId, count: usize) -> Result<Vec<DeadLetter>, Error> {
    let mut letters = Vec::new();
    let mut after = after.to_string();
    while letters.len() < count {
        let wanted = count - letters.len();
        let entries: Vec<(String, Vec<Vec<u8>>)> = redis::cmd("XRANGE")
            .arg(dead_key)
            .arg(format!("({after}"))
            .arg("+")
            .arg("COUNT")
            .arg(wanted)
            .query_async(&mut shared.repeating())
            .await?;
        let is_last = entries.len() < wanted;
        for (id, fields) in entries {
            letters.extend(letter(&id, &fields));
            after = id;
        }
        if is_last {
            break;
        }
    }
    Ok(letters)
}

fn letter(id: &str, fields: &[Vec<u8>]) -> Option<DeadLetter> {
    let (pairs, _) = fields.as_chunks::<2>();
    let (header, fields) = pairs.split_at_checked(HEADER.len())?;
    let value = |index: usize| {
        let [name, value] = header.get(index)?;
        (name == HEADER.get(index)?.as_bytes()).then(|| String::from_utf8_lossy(value).into_owned())
    };
    Some(DeadLetter {
        id: id.parse().ok()?,
        reason: value(0)?,
        entry: value(1)?.parse().ok()?,
        deliveries: value(2)?.parse().ok()?,
        consumer: value(3)?,
        fields: match fields {
            [[name, packed]] if name == PACKED.as_bytes() => in_pairs(&unpack(packed)?),
            fields => in_pairs(fields.as_flattened()),
        },
    })
}

fn in_pairs(flat: &[Vec<u8>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (pairs, _) = flat.as_chunks::<2>();
    pairs.iter().cloned().map(|[name, value]| (name, value)).collect()
}

/// Adds a dead letter's entry to its source stream again, under a new id and with a delivery count of its own, and removes
/// the dead letter, in one script. Every group of that stream gets it, also those that handled it before. False when there
/// is no such dead letter.
///
/// One with packed fields is added by a transaction instead: two calls at the same time may add it twice.
///
/// Commands used: EVAL, XADD on the stream; XRANGE, XDEL on the dead letters; MULTI, EXEC for packed fields.
pub async fn replay(shared: &Shared, stream: &str, dead_key: &str, id: EntryId) -> Result<bool, Error> {
    let replayed: u8 = redis::cmd("EVAL")
        .arg(REPLAY)
        .arg(2)
        .arg(stream)
        .arg(dead_key)
        .arg(id.to_string())
        .arg(&HEADER[..])
        .arg(PACKED)
        // Not repeated: the answer would be that there is none.
        .query_async(&mut shared.clone())
        .await?;
    match replayed {
        2 => replay_packed(shared, stream, dead_key, id).await,
        number => Ok(number == 1),
    }
}

async fn replay_packed(shared: &Shared, stream: &str, dead_key: &str, id: EntryId) -> Result<bool, Error> {
    let found: Vec<(String, Vec<Vec<u8>>)> = redis::cmd("XRANGE")
        .arg(dead_key)
        .arg(id.to_string())
        .arg(id.to_string())
        .query_async(&mut shared.repeating())
        .await?;
    let Some((id, fields)) = found.first() else {
        return Ok(false);
    };
    let letter = letter(id, fields).ok_or_else(Error::unexpected_reply)?;
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("XDEL").arg(dead_key).arg(id).ignore();
    transaction.cmd("XADD").arg(stream).arg("*");
    for (name, value) in &letter.fields {
        transaction.arg(name).arg(value);
    }
    transaction.exec_async(&mut shared.clone()).await?;
    Ok(true)
}

/// Removes a dead letter for good. False when there is no such one.
///
/// Commands used: XDEL.
pub async fn drop(shared: &Shared, dead_key: &str, id: EntryId) -> Result<bool, Error> {
    Ok(redis::cmd("XDEL")
        .arg(dead_key)
        .arg(id.to_string())
        .query_async(&mut shared.clone())
        .await?)
}

/// How many dead letters there are.
///
/// Commands used: XLEN.
pub async fn count(shared: &Shared, dead_key: &str) -> Result<u64, Error> {
    Ok(redis::cmd("XLEN")
        .arg(dead_key)
        .query_async(&mut shared.repeating())
        .await?)
}
