//! The program: parses the command line and calls the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ticketd::cli::main()
}
