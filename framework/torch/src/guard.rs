//! Panics inside tensor code become errors.
//!
//! Losses and attacks are written with tch's plain operators, which panic when libtorch refuses (a
//! shape that does not fit). The engine runs them in here, so that the user reads a message and
//! keeps the last checkpoint.

use crate::{Error, Result};
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Once;

thread_local! {
    /// Where the current panic was, as `place_of` says it; `None` outside `guard`.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work`; a panic in it becomes an error with its message and source line.
///
/// # Errors
/// The error of `work`, or its panic.
pub fn guard<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let guarded = PLACE.with_borrow_mut(|place| {
                let guarded = place.is_some();
                if guarded {
                    *place = Some(info.location().map(place_of).unwrap_or_default());
                }
                guarded
            });
            if !guarded {
                default(info);
            }
        }));
    });
    let outer = PLACE.replace(Some(String::new()));
    let result = catch_unwind(AssertUnwindSafe(work));
    let place = PLACE.replace(outer).unwrap_or_default();
    result.unwrap_or_else(|payload| {
        let payload = match payload.downcast::<Error>() {
            Ok(raised) => return Err(*raised),
            Err(other) => other,
        };
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("unknown panic");
        if let Some(why) = text.strip_prefix("failed printing to stdout: ") {
            return Err(Error::new(format!("cannot write to standard output: {why}"))); // what `println!` panics with
        }
        let error = Error::torch(text);
        Err(if place.is_empty() { error } else { error.raised(&place) })
    })
}

/// Where a panic was: `at FILE:LINE`. Of one inside tch's operators the caller, which only a
/// backtrace knows: its line where the plugin was built with debug information, otherwise its
/// function.
fn place_of(location: &Location) -> String {
    if !location.file().contains("tch-") {
        return format!("at {location}");
    }
    caller(&Backtrace::force_capture().to_string()).unwrap_or_default()
}

/// The first function in a printed backtrace that calls tch.
fn caller(trace: &str) -> Option<String> {
    let mut lines = trace.lines().map(str::trim).peekable();
    let mut called = false;
    while let Some(line) = lines.next() {
        let Some((_, function)) = line.split_once(": ").filter(|(n, _)| n.parse::<u32>().is_ok()) else { continue };
        let line = lines.next_if(|line| line.starts_with("at ")).map(str::to_string);
        if function.contains("tch::") {
            called = true;
        } else if called
            // A closure may be inlined into `guard` itself.
            && !["core::", "<core::", "std::", "<std::", "alloc::", "foil_torch::guard::guard"]
                .iter()
                .any(|of| function.starts_with(of))
        {
            return Some(line.unwrap_or_else(|| format!("in {}", readable(function))));
        }
    }
    None
}

/// A function's name without the hash that some compilers append: `…::forward::h0123456789abcdef`.
fn readable(function: &str) -> &str {
    match function.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit()) => name,
        _ => function,
    }
}

/// The reverse: turns an error into a panic, in code that cannot return a result, up to the next
/// [`guard`].
///
/// # Panics
/// With the error.
pub fn raise<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| match PLACE.with_borrow(Option::is_some) {
        true => resume_unwind(Box::new(error)),
        false => panic!("{}", error.message()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    #[test]
    fn what_was_raised_comes_back_whole() {
        let error = guard(|| Ok(raise::<i32>(Err(Error::new("no").help("so"))))).unwrap_err();
        assert_eq!((error.message(), error.suggestion()), ("no", Some("so")));
    }

    #[test]
    fn a_shape_error_is_told_without_a_backtrace() {
        let error = guard(|| Ok(Tensor::from_slice(&[1f32, 2.0]) + Tensor::from_slice(&[1f32, 2.0, 3.0]))).unwrap_err();
        assert!(error.message().contains("must match"), "{error}");
        assert!(!error.message().contains("Exception raised"), "{error}");
        assert!(error.message().contains("a_shape_error_is_told_without_a_backtrace"), "{error}");
    }

    #[test]
    fn the_caller_of_tch_is_found_in_a_backtrace() {
        let trace = "   0: std::backtrace::Backtrace::create\n   1: foil_torch::guard::place_of\n             at ./guard.rs:1:2\n   \
                     2: core::result::unwrap_failed\n   3: tch::wrappers::tensor_generated::<impl tch::Tensor>::matmul\n   \
                     4: <mine::MyLoss as foil::loss::Loss>::forward::h0123456789abcdef\n";
        assert_eq!(caller(trace).as_deref(), Some("in <mine::MyLoss as foil::loss::Loss>::forward"));
        let debug = format!("{trace}             at ./src/lib.rs:40:13\n   5: main\n");
        assert_eq!(caller(&debug).as_deref(), Some("at ./src/lib.rs:40:13"));
        assert_eq!(caller("   0: tch::a\n   1: core::ops::call\n"), None);
    }

    #[test]
    fn other_errors_pass_through() {
        assert_eq!(guard(|| Err::<(), _>(Error::new("no"))).unwrap_err().message(), "no");
        assert_eq!(guard(|| Ok(3)).unwrap(), 3);
    }
}
