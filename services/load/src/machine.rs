//! The machine that the load comes from, for the report: a number without it says little.

use std::fmt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a report says about the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// The processor's model, where the kernel tells.
    pub processor: Option<String>,
    /// Name, release and architecture of the kernel.
    pub kernel: String,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let system = rustix::system::uname();
        let words = [system.sysname(), system.release(), system.machine()];
        let words = words.map(|word| word.to_string_lossy().into_owned());
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: model.map(|rest| rest.trim_start_matches(['\t', ' ', ':']).to_owned()),
            kernel: words.join(" "),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} cores", self.cores)?;
        if let Some(processor) = &self.processor {
            write!(formatter, " ({processor})")?;
        }
        write!(formatter, ", {}", self.kernel)
    }
}

/// Raises this process's limit of open files to what the system allows, since every connection is one; returns it.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Refused is no failure: the connections beyond the limit will be, and are counted.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_machine_says_what_it_is() {
        let text = super::Machine::here().to_string();
        assert!(text.contains("cores") && text.contains("Linux"), "{text}");
    }
}
