//! What can go wrong in a call, and how it is told.

use super::code;
use super::engine::STACK_BYTES;
use super::host::{HostState, LOG_LINE_MAX};
use super::settings::Settings;
use crate::transform::TransformFailure;
use std::time::Duration;
use wasmtime::Trap;

/// A sentence of ours or a guest's is not longer than this in an error record.
const SENTENCE_MAX: usize = 1024;

/// Why a call ended without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModuleFault {
    pub code: &'static str,
    /// One line.
    pub what: String,
    pub last_log: Option<String>,
    /// Another run with the same records may end otherwise.
    pub may_differ: bool,
}

impl ModuleFault {
    /// Tells what a call's error was.
    pub(super) fn new(
        error: &wasmtime::Error,
        state: &HostState,
        settings: &Settings,
        deadline: Duration,
    ) -> ModuleFault {
        let memory = &state.memory;
        let out_of_memory = memory.refused.is_some() || memory.host_refused;
        let (code, what) = match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => (code::TIMEOUT, format!("it ran longer than {deadline:?}")),
            Some(Trap::StackOverflow) => {
                (code::STACK_OVERFLOW, format!("it called itself until its stack of {STACK_BYTES} bytes ended"))
            }
            _ if too_much_output(error) => {
                (code::OUTPUT_TOO_LARGE, format!("it handed over more than {} bytes", settings.output_bytes))
            }
            trap if out_of_memory => {
                let then = trap.map_or_else(|| one_line(&cause(error), SENTENCE_MAX), Trap::to_string);
                let wanted = match memory.refused {
                    Some(wanted) => {
                        format!("it wanted {wanted} bytes of memory, the limit is {}", settings.memory_bytes)
                    }
                    None => "this machine had no more memory".to_owned(),
                };
                (code::OUT_OF_MEMORY, format!("{wanted}: {then}"))
            }
            _ => (code::TRAP, one_line(&cause(error), SENTENCE_MAX)),
        };
        let may_differ = code == code::TIMEOUT || (code == code::OUT_OF_MEMORY && memory.host_refused);
        ModuleFault { code, what, last_log: state.log.last.clone(), may_differ }
    }

    pub(super) fn is_timeout(&self) -> bool {
        self.code == code::TIMEOUT
    }

    /// The fault as the reason why a record failed that was alone in the call, or alone to blame.
    pub(super) fn failed(&self, attempts: u32, module: &str) -> TransformFailure {
        let said = self.last_log.as_ref().map(|line| format!("; it last logged: {line}")).unwrap_or_default();
        let message = format!("{}{said} (module {module})", self.what);
        TransformFailure { code: self.code, message, attempts, may_differ: self.may_differ }
    }
}

/// wasmtime has no type for it that can be asked for.
fn too_much_output(error: &wasmtime::Error) -> bool {
    error.chain().any(|e| e.to_string().contains("fuel allocated for hostcalls has been exhausted"))
}

/// The innermost reason; what stands around it is a list of addresses.
pub(super) fn cause(error: &wasmtime::Error) -> String {
    error.root_cause().to_string()
}

/// Makes any text one line of at most `max` bytes and three dots.
pub(super) fn one_line(text: &str, max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max) + 3);
    for c in text.trim_end().chars() {
        if line.len() + c.len_utf8() > max {
            line.push_str("...");
            break;
        }
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

const _: () = assert!(LOG_LINE_MAX <= SENTENCE_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_guest_says_is_one_short_line() {
        assert_eq!(one_line("a\nb\u{1b}[31m\0ø\r\n", 100), "a\\nb\\u{1b}[31m\\u{0}ø");
        assert_eq!(one_line("aøøø", 4), "aø...");
        assert_eq!(one_line("", 4), "");
    }
}
