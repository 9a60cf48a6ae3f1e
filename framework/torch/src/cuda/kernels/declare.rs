//! What turns a kernel's declaration into a function that checks its arguments and launches it.

use tch::Tensor;

/// What a name in a length or a condition means: an integer is an `i64`, all else is itself.
pub(super) trait InLength {
    type As;
    fn in_length(self) -> Self::As;
}

macro_rules! in_length {
    ($($type:ty => $as:ty),*) => {
        $(impl InLength for $type {
            type As = $as;
            fn in_length(self) -> $as { self.into() }
        })*
    };
}
in_length!(i32 => i64, i64 => i64, f32 => f32);

impl<'a> InLength for &'a Tensor {
    type As = &'a Tensor;
    fn in_length(self) -> Self::As {
        self
    }
}

impl<'a> InLength for Option<&'a Tensor> {
    type As = Option<&'a Tensor>;
    fn in_length(self) -> Self::As {
        self
    }
}

impl<'a> InLength for &'a [u64] {
    type As = &'a [u64];
    fn in_length(self) -> Self::As {
        self
    }
}

/// The Rust type of a parameter.
macro_rules! parameter {
    (input) => { &Tensor };
    (output) => { &Tensor };
    (maybe_input) => { Option<&Tensor> };
    (maybe_output) => { Option<&Tensor> };
    (long) => { i64 };
    (int) => { i32 };
    (float) => { f32 };
    (words) => { &[u64] };
}

/// What an element is, and whether it is read in vectors.
macro_rules! element {
    (T) => {
        (Element::T, false)
    };
    (Tx8) => {
        (Element::T, true)
    };
    (bf16) => {
        (Element::Bf16, false)
    };
    (f32) => {
        (Element::F32, false)
    };
    (f32x8) => {
        (Element::F32, true)
    };
    (f64) => {
        (Element::F64, false)
    };
    (u32) => {
        (Element::U32, false)
    };
    (i64) => {
        (Element::I64, false)
    };
    (u8) => {
        (Element::U8, false)
    };
}

/// The length of a pointer's numbers; other arguments have none.
macro_rules! length {
    () => {
        0
    };
    ($length:expr) => {
        $length
    };
}

/// An argument as [`launch`] takes it.
macro_rules! argument {
    ($name:ident: long, $length:expr) => {{
        let _ = $length;
        Argument::Long($name)
    }};
    ($name:ident: int, $length:expr) => {{
        let _ = $length;
        Argument::Int($name)
    }};
    ($name:ident: float, $length:expr) => {{
        let _ = $length;
        Argument::Float($name)
    }};
    ($name:ident: words, $length:expr) => {{
        let _ = $length;
        Argument::Words($name)
    }};
    ($name:ident: $kind:ident $element:ident, $length:expr) => {{
        let (element, vectors) = element!($element);
        let tensor = Option::<&Tensor>::from($name);
        Argument::Pointer(stringify!($name), Pointer { tensor, element, vectors, length: $length })
    }};
}

macro_rules! kernels {
    (
        with $grid:ident;
        $(
            $(#[$doc:meta])*
            $([$unsafe:ident])? fn $name:ident($($argument:ident: $kind:ident $($element:ident[$length:expr])?),* $(,)?)
            $(where $condition:expr)?;
        )*
    ) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            /// When an argument is not as declared, or what CUDA reports.
            #[allow(clippy::too_many_arguments, unused_variables)]
            pub $($unsafe)? fn $name($grid: Grid, $($argument: parameter!($kind)),*) -> Result<()> {
                let blocks = $grid.blocks()?;
                let mut lengths = {
                    let $grid = blocks;
                    $(let $argument = $argument.in_length();)*
                    $(if !($condition) {
                        return Err(Error::new(concat!(stringify!($name), " needs ", stringify!($condition))));
                    })?
                    [$(length!($($length)?)),*].into_iter()
                };
                let mut next = || -> i64 { lengths.next().unwrap_or(-1) };
                let arguments = [$(argument!($argument: $kind $($element)?, next())),*];
                let names = [stringify!($name), concat!(stringify!($name), "_bf16"), concat!(stringify!($name), "_f32")];
                // SAFETY: The declaration is that of kernels.cu (a test compares them), and says
                // how far the kernel reaches. Where that depends on tensors' numbers, the function
                // is unsafe and its caller answers for them.
                unsafe { launch(names, blocks, &arguments) }
            }
        )*

        /// The same as text, to compare with kernels.cu.
        #[cfg(test)]
        const DECLARED: &[(&str, &[(&str, &str)])] =
            &[$((stringify!($name), &[$((stringify!($kind), concat!($(stringify!($element))?))),*])),*];
    };
}
