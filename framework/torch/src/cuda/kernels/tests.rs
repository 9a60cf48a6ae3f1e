//! The declarations against kernels.cu, and what a launch refuses.

use super::*;
use crate::cuda::stand_in::StandIn;
use std::collections::BTreeSet;
use tch::{Device, Kind};

/// A C parameter such as `const float* x` without its name.
fn type_of(parameter: &str) -> String {
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    parameter.trim().trim_end_matches(name).trim().replace('\n', " ")
}

/// What C calls a declared parameter, in a kernel whose `T` is this.
fn expected(kind: &str, element: &str, generic: &str) -> String {
    let c = match element.trim_end_matches("x8") {
        "T" => generic,
        "f32" => "float",
        "f64" => "double",
        "u32" => "unsigned",
        "i64" => "long",
        "u8" => "unsigned char",
        other => other,
    };
    match kind {
        "input" | "maybe_input" => format!("const {c}*"),
        "output" | "maybe_output" => format!("{c}*"),
        "words" => "const Pieces".to_string(),
        number => number.to_string(),
    }
}

#[test]
fn declarations_are_those_of_the_source() {
    let mut defined = BTreeSet::new();
    for kernel in include_str!("../../../../cuda/kernels.cu").split("__global__ void ").skip(1) {
        let (name, rest) = kernel.split_once('(').unwrap();
        let parameters: Vec<String> = rest.split_once(')').unwrap().0.split(',').map(type_of).collect();
        let known = |name: &str| DECLARED.iter().find(|(declared, _)| *declared == name);
        let forms = [(name, ""), (name.trim_end_matches("_bf16"), "bf16"), (name.trim_end_matches("_f32"), "float")];
        let is_form = |(base, generic): &(&str, &str)| {
            known(base).is_some_and(|(_, all)| all.iter().any(|(_, of)| of.starts_with('T')) != generic.is_empty())
                && (generic.is_empty() || *base != name)
        };
        let (base, generic) = forms.into_iter().find(is_form).unwrap_or_else(|| panic!("{name} is not declared"));
        let declared: Vec<String> =
            known(base).unwrap().1.iter().map(|(kind, element)| expected(kind, element, generic)).collect();
        assert_eq!(declared, parameters, "{name}");
        defined.insert((base, generic));
    }
    for (name, parameters) in DECLARED {
        let is_generic = parameters.iter().any(|(_, element)| element.starts_with('T'));
        for generic in if is_generic { &["bf16", "float"][..] } else { &[""] } {
            assert!(defined.contains(&(*name, *generic)), "{name} of {generic} is not defined");
        }
    }
    assert_ne!(expected("input", "f32", ""), type_of("float* x"));
    assert_ne!(expected("int", "", ""), type_of("long n"));
}

// SAFETY: The kernels are those, and take memory of the CPU.
#[allow(unsafe_code)]
const ON_CPU: StandIn = unsafe { StandIn::new(foil_host_kernels::launch) };

#[test]
fn what_is_not_as_declared_is_not_launched() {
    let float = |n: i64| Tensor::ones([n], (Kind::Float, Device::Cpu));
    let (x, c) = (float(16), float(8));
    let run = |x: &Tensor, scale: &Tensor, n: i64| {
        let launch = || affine_relu(Grid::Threads(n / 8), x, Some(scale), &c, &float(16), n, 8, n);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ON_CPU.during(launch)))
            .map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default())
    };
    assert!(run(&x, &c, 16).unwrap().is_ok());
    let gaps = float(64).view([32, 2]).select(1, 0).narrow(0, 0, 16);
    let half = x.to_kind(Kind::BFloat16);
    let cases = [
        (&float(15), &c, "`x` that has 15 numbers, not 16"),
        (&x, &float(7), "`s` that has 7 numbers, not 8"),
        (&x, &c.to_kind(Kind::Double), "`s` that is of Double, not of Float"),
        (&half, &c, "`o` that is of Float, not of BFloat16"),
        (&gaps, &c, "`x` that has gaps"),
        (&float(24).narrow(0, 1, 16), &c, "`x` that is not made of whole vectors"),
    ];
    for (x, scale, why) in cases {
        let error = run(x, scale, 16).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    assert!(affine_relu(Grid::Threads(2), &x, Some(&c), &c, &x, 16, 8, 12).is_err(), "apart by 12 of 8 channels");
}
