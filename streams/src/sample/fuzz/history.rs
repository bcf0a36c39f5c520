//! Makes up hostile histories, step by step, from a seed and from what the stream holds.

use super::step::Step;
use super::truth::Truth;
use super::{CONSUMERS, GROUPS};
use crate::entry_id::EntryId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What kind of producers and consumers a history has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Everything, at random.
    Wild,
    /// A deep backlog, consumers that read and acknowledge, few removals: the anchor's home.
    Deep,
    /// Producers with MAXLEN.
    Capped,
    /// Entries are deleted when they are done.
    Queue,
}

const STYLES: [Style; 6] = [
    Style::Wild,
    Style::Wild,
    Style::Deep,
    Style::Deep,
    Style::Capped,
    Style::Queue,
];

/// A history in the making.
pub(super) struct History {
    random: StdRng,
    style: Style,
    /// The greatest number of entries read or added at once.
    stride: u32,
    restarts: bool,
    next_id: EntryId,
}

impl History {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        // Ids of different lengths: text order is not id order.
        let milliseconds = [1, 8, 95, 999_990, 1_700_000_000_000][random.random_range(0..5)];
        Self {
            style: STYLES[random.random_range(0..STYLES.len())],
            stride: [3, 6, 6, 6, 40][random.random_range(0..5)],
            restarts: random.random_bool(0.04),
            next_id: EntryId {
                milliseconds,
                sequence: 1,
            },
            random,
        }
    }

    /// How the stream and its groups begin.
    pub(super) fn beginning(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        let entries = match self.style {
            Style::Deep => self.number(20, 80) * if self.one_in(12) { 4 } else { 1 },
            _ => self.number(0, 12),
        };
        for _ in 0..entries {
            steps.push(self.add(""));
        }
        for group in GROUPS {
            let start = if self.one_in(3) {
                "0".to_owned()
            } else {
                self.made_up_id()
            };
            steps.push(command(format!("XGROUP CREATE s {group} {start} MKSTREAM")));
        }
        if self.restarts {
            steps.push(Step::Save);
        }
        steps
    }

    /// What happens next, up to and with a sample.
    pub(super) fn next(&mut self, truth: Option<&Truth>) -> Vec<Step> {
        let mut steps = Vec::new();
        let acts = if self.one_in(5) { self.number(2, 12) } else { 1 };
        for _ in 0..acts {
            self.act(truth, &mut steps);
        }
        steps.push(Step::Sample {
            cap: [0, 1, 2, 3, 5, 8, 1000][self.random.random_range(0..7)],
            max_deliveries: [0, 2, 3][self.random.random_range(0..3)],
            detail: self.one_in(2),
        });
        steps
    }

    fn act(&mut self, truth: Option<&Truth>, steps: &mut Vec<Step>) {
        let group = self.pick(&GROUPS);
        let consumer = self.pick(&CONSUMERS);
        let some = self.number(1, self.stride);
        // Ordinary work, and everything now and then.
        let faces = if self.style == Style::Wild || self.restarts || self.one_in(6) {
            118
        } else {
            62
        };
        let dice = self.random.random_range(0..faces);
        let words = match dice {
            0..22 => return self.add_some(some, steps),
            22..46 => format!("XREADGROUP GROUP {group} {consumer} COUNT {some} STREAMS s >"),
            46..60 => return self.finish(group, some, truth, steps),
            62..64 => format!("XREADGROUP GROUP {group} {consumer} COUNT {some} NOACK STREAMS s >"),
            64..66 => format!("XREADGROUP GROUP {group} {consumer} COUNT {some} STREAMS s 0"),
            66..74 => format!("XDEL s {}", self.any_id(truth)),
            74..78 => format!("XTRIM s MAXLEN = {}", some * 3),
            78..81 => format!("XTRIM s MINID = {}", self.any_id(truth)),
            81..83 => format!("XTRIM s MAXLEN ~ {some}"),
            60..62 | 83..89 => self.claim(group, consumer, truth),
            89..92 => format!("XAUTOCLAIM s {group} {consumer} 0 0 COUNT {some}"),
            92..96 => format!("XGROUP SETID s {group} {}", self.any_id(truth)),
            96..98 => format!("XGROUP SETID s {group} $"),
            98..102 => format!("XGROUP SETID s {group} {} ENTRIESREAD {some}", self.any_id(truth)),
            102..104 => format!("XGROUP DELCONSUMER s {group} {consumer}"),
            104..106 => format!("XGROUP CREATECONSUMER s {group} {consumer}"),
            106..109 => {
                steps.push(command(format!("XGROUP DESTROY s {group}")));
                format!("XGROUP CREATE s {group} {}", self.any_id(truth))
            }
            109..111 => return self.replace_stream(some, steps),
            _ if !self.restarts => return self.add_some(some, steps),
            111..114 => return steps.push(Step::Save),
            _ => {
                steps.push(Step::Restart);
                // A producer that goes on by what Redis says repeats ids; one that goes by the clock does not.
                if self.one_in(2)
                    && let Some(truth) = truth
                {
                    self.next_id = truth.generated;
                    self.advance();
                }
                return;
            }
        };
        steps.push(command(words));
    }

    fn add_some(&mut self, some: u32, steps: &mut Vec<Step>) {
        let trim = match (self.style, self.number(0, 20)) {
            (Style::Capped, _) => format!("MAXLEN = {} ", self.number(5, 30)),
            (Style::Wild, 0..3) => format!("MAXLEN = {} ", some * 2),
            (Style::Wild, 3) => format!("MINID = {} ", self.next_id),
            _ => String::new(),
        };
        for _ in 0..some {
            steps.push(self.add(&trim));
        }
    }

    fn add(&mut self, trim: &str) -> Step {
        let words = format!("XADD s {trim}{} f v", self.next_id);
        self.advance();
        command(words)
    }

    fn advance(&mut self) {
        if self.random.random_bool(0.4) {
            self.next_id.sequence += self.random.random_range(1..12);
        } else {
            self.next_id.milliseconds += self.random.random_range(1..8);
            self.next_id.sequence = self.random.random_range(0..3);
        }
    }

    /// A consumer is done with some entries: mostly those that wait longest, sometimes the newest.
    fn finish(&mut self, group: &str, some: u32, truth: Option<&Truth>, steps: &mut Vec<Step>) {
        let mut ids: Vec<EntryId> = truth.map(|truth| truth.pending_of(group)).unwrap_or_default();
        if self.one_in(3) {
            ids.reverse();
        }
        ids.truncate(some as usize);
        if ids.is_empty() {
            return;
        }
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let ids = ids.join(" ");
        steps.push(command(format!("XACK s {group} {ids}")));
        if self.style == Style::Queue {
            steps.push(command(format!("XDEL s {ids}")));
        }
    }

    fn claim(&mut self, group: &str, consumer: &str, truth: Option<&Truth>) -> String {
        let pending = truth.map(|truth| truth.pending_of(group)).unwrap_or_default();
        let id = if pending.is_empty() || self.one_in(4) {
            self.any_id(truth)
        } else {
            pending[self.random.random_range(0..pending.len())].to_string()
        };
        let mut words = format!("XCLAIM s {group} {consumer} 0 {id}");
        for (one_in, option) in [
            (2, " IDLE 7200000"),
            (3, " RETRYCOUNT 3"),
            (4, " FORCE"),
            (4, " JUSTID"),
        ] {
            if self.one_in(one_in) {
                words.push_str(option);
            }
        }
        words
    }

    /// Another stream under the same name, with later ids as the clock makes them.
    fn replace_stream(&mut self, some: u32, steps: &mut Vec<Step>) {
        steps.push(command("DEL s".to_owned()));
        self.next_id.milliseconds += 10;
        for _ in 0..some * self.number(1, 6) {
            steps.push(self.add(""));
        }
        for group in GROUPS {
            let start = if self.one_in(2) {
                "0".to_owned()
            } else {
                self.made_up_id()
            };
            steps.push(command(format!("XGROUP CREATE s {group} {start} MKSTREAM")));
        }
        if self.one_in(3) {
            steps.push(command(format!("XTRIM s MAXLEN = {some}")));
        }
    }

    /// An id of the stream, or one around it.
    fn any_id(&mut self, truth: Option<&Truth>) -> String {
        let ids = truth.map(|truth| truth.present.as_slice()).unwrap_or_default();
        if ids.is_empty() || self.one_in(8) {
            return self.made_up_id();
        }
        ids[self.random.random_range(0..ids.len())].to_string()
    }

    fn made_up_id(&mut self) -> String {
        let milliseconds = self.next_id.milliseconds;
        match self.random.random_range(0..6) {
            0 => "0-0".to_owned(),
            1 => "0-1".to_owned(),
            2 => format!("{}-0", milliseconds + self.random.random_range(0..30)),
            3 => self.next_id.to_string(),
            _ => format!("{}-1", milliseconds.saturating_sub(self.random.random_range(0..30))),
        }
    }

    fn number(&mut self, least: u32, most: u32) -> u32 {
        self.random.random_range(least..=most)
    }

    fn one_in(&mut self, number: u32) -> bool {
        self.random.random_range(0..number) == 0
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.random.random_range(0..choices.len())]
    }
}

fn command(words: String) -> Step {
    Step::Command(words)
}
