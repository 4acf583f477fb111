//! Arguments, a command, an exit code.

#[global_allocator]
static ALLOCATOR: hydrant::allocator::Allocator = hydrant::allocator::Allocator;

fn main() -> std::process::ExitCode {
    hydrant::cli::main()
}
