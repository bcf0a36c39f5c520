//! Checks every scope, or those that are named, and prints what was gone through. Ends with 1 when an invariant is broken, with 2 when there is no such scope.

use std::process::ExitCode;

use shopwright_model::{Report, check, scope};

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let scopes = match scope::named(&wanted) {
        Ok(scopes) => scopes,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{:<16}{:>10}{:>14}{:>14}{:>8}{:>10}  result",
        "scope", "orders", "states", "steps", "depth", "seconds"
    );
    let mut is_clean = true;
    for scope in scopes {
        match check(scope, threads) {
            Ok(report) => {
                is_clean &= report.is_clean();
                print(&report);
            }
            Err(error) => {
                is_clean = false;
                println!("{:<16}{error}", scope.name);
            }
        }
    }
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(report: &Report) {
    let result = if report.is_clean() { "all hold" } else { "BROKEN" };
    println!(
        "{:<16}{:>10}{:>14}{:>14}{:>8}{:>10.1}  {result}",
        report.name,
        report.orders,
        report.states,
        report.generated,
        report.depth,
        report.time.as_secs_f64(),
    );
    for (name, actions) in &report.broken {
        println!("  broken: {name}");
        for action in actions {
            println!("    {action:?}");
        }
    }
    for name in &report.unseen {
        println!("  never {name}");
    }
}
