//! What is known for certain, one JSON line a fact, written when it is known: the yardstick for whoever checks the shop
//! afterwards. Touches its file only.
//!
//! A line is with the operating system before the run goes on, so it survives the death of this process, not of the machine.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shopwright_domain::ids::{OrderId, ProductId, RefundId};
use shopwright_domain::money::Money;
use uuid::Uuid;

/// One fact, and between which times the shop stored it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When.
    #[serde(flatten)]
    pub when: When,
    /// What.
    #[serde(flatten)]
    pub fact: Fact,
}

/// From a request on its way to what was known of it, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct When {
    /// The earliest request that may have had the effect was sent.
    pub asked_at: i64,
    /// The last reply that told it was read.
    pub known_at: i64,
}

impl When {
    /// Asked at a time, and known now.
    pub(crate) fn since(asked_at: i64) -> Self {
        Self {
            asked_at,
            known_at: now(),
        }
    }

    /// Of two that tell the same: between the first request and the last reply.
    pub(crate) fn joined(self, other: Self) -> Self {
        Self {
            asked_at: self.asked_at.min(other.asked_at),
            known_at: self.known_at.max(other.known_at),
        }
    }
}

/// The time, in milliseconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

/// What is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// The shop took the order: a 202 was seen. It must be there, once.
    OrderAccepted {
        /// Its id.
        id: OrderId,
        /// What reads it.
        token: String,
        /// Under which key it was placed.
        key: Uuid,
        /// What was ordered.
        lines: Vec<Line>,
    },
    /// No definite reply ever came: the order is there, once, or not at all.
    OrderUnknown {
        /// Under which key it may have been placed.
        key: Uuid,
        /// What was ordered.
        lines: Vec<Line>,
    },
    /// The shop took a cancellation: the order must not complete.
    CancelAccepted {
        /// Of which order.
        id: OrderId,
    },
    /// The shop took a refund.
    RefundAccepted {
        /// Its id.
        id: RefundId,
        /// Of which order.
        order_id: OrderId,
        /// How much.
        amount: Money,
    },
}

/// One product of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which.
    pub product_id: ProductId,
    /// How many.
    pub quantity: u32,
}

/// Why a journal cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file.
    #[error("the journal {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line that is no record.
    #[error("the journal {}: line {line} is no record: {source}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// Reads every record. A last line that its writer did not live to end is left out.
pub fn read(path: &Path) -> Result<Vec<Record>, JournalError> {
    let text = std::fs::read_to_string(path).map_err(|source| JournalError::File {
        path: path.to_owned(),
        source,
    })?;
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let record = |(index, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|source| JournalError::Line {
            path: path.to_owned(),
            line: index + 1,
            source,
        })
    };
    whole.lines().enumerate().map(record).collect()
}

/// Appends records to a file.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

impl Journal {
    /// Opens the file, and makes it when it is not there, for its owner only: tokens are in it.
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        match opened {
            Ok(file) => Ok(Self {
                path: path.to_owned(),
                file: Mutex::new(file),
            }),
            Err(source) => Err(JournalError::File {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// One record, in one write, so that records of two writers never mix.
    pub(crate) fn write(&self, record: &Record) -> Result<(), JournalError> {
        let mut line = serde_json::to_vec(record).map_err(|error| self.error(error.into()))?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).map_err(|source| self.error(source))
    }

    fn error(&self, source: std::io::Error) -> JournalError {
        JournalError::File {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let lines = vec![Line {
            product_id: ProductId::generate(),
            quantity: 2,
        }];
        let (id, key) = (OrderId::generate(), Uuid::new_v4());
        let facts = vec![
            Fact::OrderAccepted {
                id,
                token: "k1.abc".to_owned(),
                key,
                lines: lines.clone(),
            },
            Fact::OrderUnknown { key, lines },
            Fact::CancelAccepted { id },
            Fact::RefundAccepted {
                id: RefundId::generate(),
                order_id: id,
                amount: serde_json::from_str(r#"{"amount":5,"currency":"EUR"}"#).unwrap(),
            },
        ];
        let when = When::since(now() - 7);
        facts.into_iter().map(|fact| Record { when, fact }).collect()
    }

    #[test]
    fn what_is_written_is_read_at_once_and_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        for round in 1..=2 {
            let journal = Journal::open(&path).unwrap();
            let written = records();
            for record in &written {
                journal.write(record).unwrap();
            }
            // The writer is still open: nothing waits in a buffer.
            let known = read(&path).unwrap();
            assert_eq!(known.len(), round * written.len());
            assert_eq!(known[(round - 1) * written.len()..], written);
        }
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_unfinished_last_line_is_left_out_and_a_broken_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        Journal::open(&path).unwrap().write(&records()[2]).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{}", &whole[..20])).unwrap();
        assert_eq!(read(&path).unwrap().len(), 1);
        std::fs::write(&path, format!("{whole}{}\n{whole}", &whole[..20])).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 2"));
    }
}
