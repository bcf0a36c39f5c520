//! A report as a page for people.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::latency::Histogram;
use super::{Report, Requested};

impl Display for Report {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let out = formatter;
        writeln!(
            out,
            "load on {}: {} at {}/s, seed {}",
            self.url, self.mix, self.rate, self.seed
        )?;
        writeln!(out, "from {}", self.machine)?;
        self.write_orders(out)?;
        self.write_calls(out)?;
        self.write_failures(out)?;
        self.write_readers(out)?;
        self.write_violations(out)
    }
}

impl Report {
    fn write_orders(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let (loaded, followed) = (self.loaded.as_secs_f64(), self.followed.as_secs_f64());
        let starts = &self.starts;
        writeln!(out, "{loaded:.1} s of arrivals, then followed for {followed:.1} s\n")?;
        writeln!(
            out,
            "arrivals    {} started, {} of them late, {} never; delay of the start p99 {} ms, max {} ms",
            starts.started,
            starts.late,
            starts.never,
            Milliseconds(starts.delay.percentile(99.0)),
            Milliseconds(starts.delay.max()),
        )?;
        let orders = &self.orders;
        writeln!(
            out,
            "orders      {} accepted ({:.1}/s), {} refused, {} turned away, {} unknown",
            orders.accepted,
            self.accepted_per_second(),
            orders.refused,
            orders.unavailable,
            orders.unknown
        )?;
        write_requested(out, "cancels", self.cancels)?;
        write_requested(out, "refunds", self.refunds)?;
        if self.refunds_unsettled > 0 {
            writeln!(
                out,
                "            {} orders whose refunds had no end yet",
                self.refunds_unsettled
            )?;
        }
        let ended = self.ended.iter().map(|(state, count)| (state.as_str(), *count));
        write_list(out, "ended", ended)?;
        let state = |state: &Option<_>| state.map_or("never read", shopwright_domain::order::State::as_str);
        let unfinished = self.unfinished.iter().map(|(last, count)| (state(last), *count));
        write_list(out, "unfinished", unfinished)
    }

    fn write_calls(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "\n{:<22}{:>9}{:>10}{:>11}{:>11}{:>11}{:>11}",
            "milliseconds", "count", "given up", "p50", "p99", "p999", "max"
        )?;
        for (call, calls) in &self.calls {
            write_histogram(out, call.as_str(), &calls.given_up.to_string(), &calls.latency)?;
        }
        if self.placed_to_terminal.count() == 0 {
            return Ok(());
        }
        write_histogram(out, "placed to terminal", "", &self.placed_to_terminal)
    }

    fn write_failures(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if self.failures.is_empty() {
            return writeln!(out, "\nno failed attempts");
        }
        writeln!(out, "\nfailed attempts")?;
        for (failure, count) in &self.failures {
            let status = failure
                .status
                .map_or_else(|| "-".to_owned(), |status| status.to_string());
            writeln!(out, "  {:<20}{status:>5} {:<32}{count:>9}", failure.call, failure.code)?;
        }
        Ok(())
    }

    fn write_readers(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if self.readers == 0 {
            return Ok(());
        }
        let streams = &self.streams;
        writeln!(
            out,
            "\nreaders     {}: {} streams, {} events, {} ended by the shop, {} silent, {} turned away; {} confirmed, {} not",
            self.readers,
            streams.opened,
            streams.events,
            streams.ended,
            streams.silent,
            streams.turned_away,
            streams.confirmed,
            streams.unconfirmed
        )
    }

    fn write_violations(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if self.violations.is_empty() {
            return writeln!(out, "\nno violations");
        }
        writeln!(out)?;
        let counted = self.violations.iter().map(|(kind, count)| (kind.as_str(), *count));
        write_list(out, "VIOLATIONS", counted)?;
        for violation in &self.details {
            writeln!(out, "  {violation}")?;
        }
        Ok(())
    }
}

fn write_requested(out: &mut Formatter<'_>, name: &str, requested: Requested) -> fmt::Result {
    if requested == Requested::default() {
        return Ok(());
    }
    let Requested {
        accepted,
        refused,
        failed,
    } = requested;
    writeln!(out, "{name:<12}{accepted} accepted, {refused} refused, {failed} failed")
}

fn write_list<'a>(out: &mut Formatter<'_>, name: &str, items: impl Iterator<Item = (&'a str, u64)>) -> fmt::Result {
    let items: Vec<_> = items.map(|(item, count)| format!("{count} {item}")).collect();
    if items.is_empty() {
        return Ok(());
    }
    writeln!(out, "{name:<12}{}", items.join(", "))
}

fn write_histogram(out: &mut Formatter<'_>, name: &str, given_up: &str, histogram: &Histogram) -> fmt::Result {
    writeln!(
        out,
        "{name:<22}{:>9}{given_up:>10}{:>11}{:>11}{:>11}{:>11}",
        histogram.count(),
        Milliseconds(histogram.percentile(50.0)),
        Milliseconds(histogram.percentile(99.0)),
        Milliseconds(histogram.percentile(99.9)),
        Milliseconds(histogram.max()),
    )
}

struct Milliseconds(Duration);

impl Display for Milliseconds {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{:.1}", self.0.as_secs_f64() * 1e3))
    }
}
