//! The handshake: a library's record of how it was built, in a form that can be read from its file
//! before any of its code runs.

use crate::{Error, Result};
use std::ffi::c_void;
use std::mem::{align_of, size_of};

/// The version of [`Record`]'s own layout. Nothing after it is read when it differs.
pub const ABI: u32 = 1;

const MAGIC: [u8; 16] = *b"foil plugin\0\0\0\0\0";
/// Bytes of a row: a C string, padded with zeros.
const ROW: usize = 192;

/// The properties that must be equal on both sides, in the order in which they are shown.
pub const ROWS: [&str; 7] = ["rustc", "target", "foil", "tch", "libtorch", "features", "layout"];

/// How this copy of the framework was built, by [`ROWS`].
pub const BUILT: [&str; ROWS.len()] = [
    env!("FOIL_RUSTC"),
    env!("FOIL_TARGET"),
    concat!(env!("CARGO_PKG_VERSION"), ", source ", env!("FOIL_SOURCE")),
    crate::TCH,
    crate::LIBTORCH,
    FEATURES,
    LAYOUT_TEXT,
];

/// Build options that must be the same on both sides.
const FEATURES: &str = if cfg!(panic = "unwind") { "panic=unwind" } else { "panic=abort" };

/// Exported by a plugin library as `foil_plugin_CRATE`; made by
/// [`export_plugin!`](crate::export_plugin).
///
/// Plain bytes up to the function, which is called only when all of them were checked.
#[repr(C)]
pub struct Record {
    magic: [u8; 16],
    abi: u32,
    size: u32,
    crates: [u8; ROW],
    version: [u8; ROW],
    built: [[u8; ROW]; ROWS.len()],
    pub(super) start: Start,
}

/// Passes the library a [`super::export::Hello`]; see there.
pub(super) type Start = unsafe extern "C" fn(*const c_void) -> *mut c_void;

/// The bytes that are compared; what follows is an address.
pub(super) const PLAIN: usize = std::mem::offset_of!(Record, start);

impl Record {
    /// `crates`: the packages whose plugins the library has, separated by commas, its own first.
    #[doc(hidden)]
    pub const fn new(crates: &str, version: &str) -> Self {
        let mut built = [[0; ROW]; ROWS.len()];
        let mut i = 0;
        while i < ROWS.len() {
            built[i] = row(BUILT[i]);
            i += 1;
        }
        let size = size_of::<Self>() as u32;
        let start = super::export::start;
        Self { magic: MAGIC, abi: ABI, size, crates: row(crates), version: row(version), built, start }
    }
}

const fn row(text: &str) -> [u8; ROW] {
    let text = text.as_bytes();
    assert!(text.len() < ROW, "a name or version in the plugin's record is too long");
    let mut row = [0; ROW];
    let mut i = 0;
    while i < text.len() {
        row[i] = text[i];
        i += 1;
    }
    row
}

/// A record as it was found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The packages whose plugins the library has, its own first.
    pub crates: Vec<String>,
    /// The version of its own package.
    pub version: String,
    /// How it was built, by [`ROWS`].
    pub built: Vec<String>,
}

impl Seen {
    /// Reads a record's plain bytes, trusting nothing.
    ///
    /// # Errors
    /// Why it is not a record that this program understands.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or_else(|| {
            Error::new("its `foil_plugin_` symbol is not a plugin record")
                .help("generate it with `foil::export_plugin!();`")
        })?;
        let (abi, rest) = number(rest)?;
        if abi != ABI {
            return Err(Error::new(format!(
                "it has version {abi} of foil's plugin interface, this program version {ABI}"
            ))
            .help("rebuild the older of the two"));
        }
        let (size, rest) = number(rest)?;
        let rows: Vec<String> = rest.chunks_exact(ROW).map(text).collect();
        let [crates, version, built @ ..] = rows.as_slice() else { return Err(damaged()) };
        if size as usize != size_of::<Record>() || built.len() != ROWS.len() {
            return Err(damaged());
        }
        let crates = crates.split(',').map(str::to_string).collect();
        Ok(Self { crates, version: version.clone(), built: built.to_vec() })
    }

    /// Its own package.
    pub fn package(&self) -> &str {
        self.crates.first().map_or("", String::as_str)
    }

    /// Both sides as a table, if they differ.
    pub fn difference(&self) -> Option<String> {
        if self.built == BUILT {
            return None;
        }
        let width = BUILT.iter().map(|text| text.len()).chain([12]).max().unwrap_or(0);
        let mut table = format!("  {:<10}{:<width$}  the plugin", "", "this program");
        for ((name, ours), theirs) in ROWS.iter().zip(BUILT).zip(&self.built) {
            let mark = if ours == theirs { "" } else { "   differs" };
            table += &format!("\n  {name:<10}{ours:<width$}  {theirs}{mark}");
        }
        Some(table)
    }
}

fn damaged() -> Error {
    Error::new("its plugin record is damaged").help("build it again")
}

fn number(bytes: &[u8]) -> Result<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
    Ok((u32::from_ne_bytes(*number), rest))
}

/// A C string; what is not text is shown as it is.
fn text(row: &[u8]) -> String {
    let end = row.iter().position(|byte| *byte == 0).unwrap_or(row.len());
    String::from_utf8_lossy(&row[..end]).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Sizes and alignments of the types that cross, which the compiler chooses.
const LAYOUT: u64 = {
    macro_rules! layout {
        ($($type:ty),* $(,)?) => {{
            let mut hash = 0xcbf2_9ce4_8422_2325u64;
            $(hash = mixed(mixed(hash, size_of::<$type>()), align_of::<$type>());)*
            hash
        }};
    }
    layout!(
        tch::Tensor,
        (tch::Kind, tch::Device),
        Error,
        crate::registry::Build<'static>,
        crate::registry::Plugin,
        crate::registry::Slots,
        crate::attack::Batch<'static>,
        crate::attack::Adversarial,
        crate::attack::Target<'static>,
        Vec<crate::attack::Threat>,
        crate::attack::Threat,
        crate::engine::Learner,
        crate::engine::Network,
        crate::engine::Networks,
        crate::nn::Span,
        crate::loss::LossInput<'static>,
        Result<crate::loss::LossOutput>,
        crate::nn::Noise,
        crate::nn::Parameters,
        crate::nn::Pass<'static>,
        crate::nn::Builder,
        crate::scheduler::Clock,
        crate::scheduler::Scheduled,
        super::Held<dyn crate::attack::Attack>,
        super::shared::Shared,
        foil_config::Problem,
        Vec<(String, tch::Tensor)>,
    )
};

const fn mixed(hash: u64, number: usize) -> u64 {
    (hash ^ number as u64).wrapping_mul(0x0100_0000_01b3)
}

const LAYOUT_HEX: [u8; 16] = {
    let mut hex = [0; 16];
    let mut i = 0;
    while i < 16 {
        hex[i] = b"0123456789abcdef"[(LAYOUT >> (60 - 4 * i)) as usize & 15];
        i += 1;
    }
    hex
};

const LAYOUT_TEXT: &str = match std::str::from_utf8(&LAYOUT_HEX) {
    Ok(text) => text,
    Err(_) => "",
};

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(record: &Record) -> Vec<u8> {
        let mut bytes = record.magic.to_vec();
        bytes.extend([record.abi, record.size].map(u32::to_ne_bytes).concat());
        bytes.extend([record.crates, record.version].concat());
        bytes.extend(record.built.concat());
        assert_eq!(bytes.len(), PLAIN, "no padding");
        bytes
    }

    #[test]
    fn a_record_is_read_back() {
        let seen = Seen::read(&bytes(&Record::new("mine,yours", "0.3.1"))).unwrap();
        assert_eq!((seen.package(), seen.crates.len(), seen.version.as_str()), ("mine", 2, "0.3.1"));
        assert_eq!(seen.difference(), None);
        assert!(BUILT.iter().all(|text| !text.is_empty()), "{BUILT:?}");
    }

    #[test]
    fn both_sides_are_shown_and_what_differs_is_marked() {
        let mut seen = Seen::read(&bytes(&Record::new("mine", "0.1.0"))).unwrap();
        seen.built[0] = "1.94.0 (aaaaaaaaa 2026-01-01)".into();
        let table = seen.difference().unwrap();
        let marked: Vec<&str> = table.lines().filter(|line| line.ends_with("differs")).collect();
        assert_eq!(marked.len(), 1, "{table}");
        assert!(marked[0].contains(BUILT[0]) && marked[0].contains("1.94.0 (aaaaaaaaa"), "{table}");
    }

    #[test]
    fn anything_else_is_refused() {
        let good = bytes(&Record::new("mine", "0.1.0"));
        for cut in [0, 10, 16, 20, 24, 300, PLAIN - 1] {
            assert!(Seen::read(&good[..cut]).is_err(), "{cut}");
        }
        let mut other = good;
        other[16..20].copy_from_slice(&2u32.to_ne_bytes());
        assert!(Seen::read(&other).unwrap_err().message().contains("version 2 of foil's plugin interface"));
    }

    #[test]
    fn tch_is_the_version_that_cargo_was_told() {
        let manifest = include_str!("../../../Cargo.toml");
        assert!(manifest.contains(&format!("tch = \"={}\"", crate::TCH)));
    }
}
