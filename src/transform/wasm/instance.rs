//! One guest alive: instantiated, configured, called once, thrown away.

use super::bindings::{ConfiguredTransform, InputRecord, OutputRecord, Transform};
use super::code;
use super::engine::{engine, ticks};
use super::fault::{ModuleFault, cause, one_line};
use super::host::HostState;
use super::module::{Guest, Module};
use super::settings::Settings;
use crate::error::{Error, Kind, Result};
use std::time::Duration;
use wasmtime::{PoolConcurrencyLimitError, Store};

/// A guest's `init` may say this much when it refuses its configuration.
const REFUSAL_MAX: usize = 1024;

pub(super) struct Instance {
    store: Store<HostState>,
    world: World,
}

enum World {
    Plain(Transform),
    Configured(ConfiguredTransform),
}

/// Why there is no instance.
pub(super) enum NotStarted {
    /// All slots of the process are taken, which passes.
    NoSlot(String),
    /// It used up its time before it was ready.
    TimedOut(String),
    /// The guest's own doing: `init` refuses or traps, the start function traps, it wants more memory than it may have.
    Refused(String),
    /// Anything else. Before the first instance that is the guest's doing too, after it the machine's.
    Impossible(String),
}

impl NotStarted {
    /// `before`: instances of this module, so configured, have been there before.
    pub(super) fn into_error(self, before: bool) -> Error {
        let (kind, what) = match self {
            NotStarted::NoSlot(what) => (Kind::Retry, what),
            NotStarted::TimedOut(what) | NotStarted::Impossible(what) if before => (Kind::Retry, what),
            NotStarted::TimedOut(what) | NotStarted::Impossible(what) | NotStarted::Refused(what) => {
                (Kind::Misconfigured, what)
            }
        };
        Error::new(kind, format!("{}: {what}", code::INIT_FAILED))
    }
}

impl Instance {
    /// Instantiates and configures, together within `settings.timeout`, and again if that does not suffice.
    pub(super) fn start(module: &Module, settings: &Settings, config: &str) -> Result<Instance, NotStarted> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Instance::try_start(module, settings, config) {
                Err(NotStarted::TimedOut(_)) if tries <= settings.retries => {}
                done => return done,
            }
        }
    }

    fn try_start(module: &Module, settings: &Settings, config: &str) -> Result<Instance, NotStarted> {
        let engine = engine().map_err(|e| NotStarted::Impossible(e.to_string()))?;
        let state = HostState::new(module.short(), settings.memory_bytes, settings.log_lines, settings.metric_names);
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(settings.output_bytes);
        // A start function can loop as well.
        store.set_epoch_deadline(ticks(settings.timeout));
        let made = match module.guest() {
            Guest::Plain(pre) => pre.instantiate(&mut store).map(World::Plain),
            Guest::Configured(pre) => pre.instantiate(&mut store).map(World::Configured),
        };
        let world = made.map_err(|e| not_instantiated(&e, store.data(), module, settings))?;
        if let World::Configured(guest) = &world {
            let module = module.short();
            match guest.call_init(&mut store, config) {
                Ok(Ok(())) => {}
                Ok(Err(text)) => {
                    let text = one_line(&text, REFUSAL_MAX);
                    return Err(NotStarted::Refused(format!("`init` says: {text} (module {module})")));
                }
                Err(e) => {
                    return Err(not_configured(
                        &ModuleFault::new(&e, store.data(), settings, settings.timeout),
                        module,
                    ));
                }
            }
        }
        Ok(Instance { store, world })
    }

    /// The one call. Its time begins now.
    pub(super) fn transform(
        &mut self,
        records: &[InputRecord<'_>],
        settings: &Settings,
        deadline: Duration,
    ) -> Result<Vec<OutputRecord>, ModuleFault> {
        self.store.set_epoch_deadline(ticks(deadline));
        let answered = match &self.world {
            World::Plain(guest) => guest.call_transform(&mut self.store, records),
            World::Configured(guest) => guest.call_transform(&mut self.store, records),
        };
        answered.map_err(|e| ModuleFault::new(&e, self.store.data(), settings, deadline))
    }

    /// What the guest counted and used.
    pub(super) fn into_state(self) -> HostState {
        self.store.into_data()
    }
}

fn not_instantiated(e: &wasmtime::Error, state: &HostState, module: &Module, settings: &Settings) -> NotStarted {
    let module = module.short();
    if let Some(wanted) = state.memory.refused {
        let max = settings.memory_bytes;
        let what = format!("it wants {wanted} bytes of memory to begin with, the limit is {max} (module {module})");
        return NotStarted::Refused(what);
    }
    if e.downcast_ref::<wasmtime::Trap>().is_some() {
        return not_configured(&ModuleFault::new(e, state, settings, settings.timeout), module);
    }
    let what = format!("instantiate: {} (module {module})", one_line(&cause(e), REFUSAL_MAX));
    match e.downcast_ref::<PoolConcurrencyLimitError>() {
        Some(_) => NotStarted::NoSlot(what),
        None => NotStarted::Impossible(what),
    }
}

fn not_configured(fault: &ModuleFault, module: &str) -> NotStarted {
    let what = fault.failed(1, module).message;
    if fault.is_timeout() { NotStarted::TimedOut(what) } else { NotStarted::Refused(what) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_worked_before_is_tried_again_and_what_never_did_needs_a_person() {
        let kinds =
            |make: fn(String) -> NotStarted| [false, true].map(|before| make("x".to_owned()).into_error(before).kind);
        assert_eq!(kinds(NotStarted::NoSlot), [Kind::Retry, Kind::Retry]);
        assert_eq!(kinds(NotStarted::TimedOut), [Kind::Misconfigured, Kind::Retry]);
        assert_eq!(kinds(NotStarted::Impossible), [Kind::Misconfigured, Kind::Retry]);
        assert_eq!(kinds(NotStarted::Refused), [Kind::Misconfigured, Kind::Misconfigured]);
    }
}
