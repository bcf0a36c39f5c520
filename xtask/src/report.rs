//! Adds up what cargo's test runner says. Pure, but for echoing the lines it reads.

use std::io::{BufRead, BufReader, Read, Write};

/// Totals over every `test result:` line seen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// Echoes `output` line by line and adds up its `test result:` lines.
    pub(crate) fn follow(&mut self, output: impl Read, echo: &mut impl Write) -> std::io::Result<()> {
        for line in BufReader::new(output).lines() {
            let line = line?;
            writeln!(echo, "{line}")?;
            self.add(&line);
        }
        Ok(())
    }

    /// Adds one line of the runner, for example `test result: ok. 12 passed; 0 failed; 0 ignored; ...`.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else {
            return;
        };
        let counts = counts.split_once(". ").map_or(counts, |(_, counts)| counts);
        for part in counts.split(';') {
            let mut words = part.split_whitespace();
            let number = words.next().and_then(|word| word.parse::<u64>().ok());
            match (number, words.next()) {
                (Some(number), Some("passed")) => self.passed += number,
                (Some(number), Some("failed")) => self.failed += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_passed_and_failed_over_several_binaries() {
        let output = "running 2 tests\n\
            test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.01s\n\
            noise: 7 passed\n\
            test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n";
        let mut tally = Tally::default();
        let mut echoed = Vec::new();
        tally.follow(output.as_bytes(), &mut echoed).unwrap();
        assert_eq!(tally, Tally { passed: 15, failed: 2 });
        assert_eq!(echoed, output.as_bytes());
    }
}
