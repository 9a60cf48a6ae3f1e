//! Panics inside tensor code become errors.
//!
//! Losses and attacks are written with tch's plain operators, which panic when libtorch refuses (a
//! shape that does not fit). The engine runs them in here, so that the user reads a message and
//! keeps the last checkpoint.

use crate::error::torch_message;
use crate::{Error, Result};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;

thread_local! {
    /// The source location of the current panic; `None` outside `guard`.
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
                    *place = Some(info.location().map(ToString::to_string).unwrap_or_default());
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
        let ours = !place.contains("tch-");
        Err(Error::new(if ours { format!("{} (at {place})", torch_message(text)) } else { torch_message(text) }))
    })
}

/// The reverse: turns an error into a panic, in code that cannot return a result, up to the next
/// [`guard`].
///
/// # Panics
/// With the error.
pub(crate) fn raise<T>(result: Result<T>) -> T {
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
    }

    #[test]
    fn other_errors_pass_through() {
        assert_eq!(guard(|| Err::<(), _>(Error::new("no"))).unwrap_err().message(), "no");
        assert_eq!(guard(|| Ok(3)).unwrap(), 3);
    }
}
