//! MNIST, whole and as the subset that is built in.
//!
//! The sums of the unpacked files are the project's own record of them, the sums of the gzipped
//! files those that TensorFlow Datasets keeps (`url_checksums/mnist.txt`). Both mirrors hold the
//! files of yann.lecun.com/exdb/mnist unchanged.

use super::{BuiltIn, Content, DataFile, Entry, Forms, Known, Split, Sum, names};
use crate::facts::{Counts, Remote};

const TITLE: &str = "MNIST";
const LICENCE: &str = "CC BY-SA 3.0, as commonly given (Y. LeCun, C. Cortes, C. J. C. Burges)";
const CITATION: &str = "LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition. Proceedings of the IEEE 86(11), 1998.";
const HOMEPAGE: &str = "http://yann.lecun.com/exdb/mnist/";
const MEAN: &[f64] = &[0.13066];
const STD: &[f64] = &[0.30811];
const MIRRORS: &[&str] =
    &["https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"];

/// MNIST.
pub static MNIST: Entry = Entry {
    name: "mnist",
    title: TITLE,
    about: "handwritten digits, grey, 28 x 28",
    licence: LICENCE,
    citation: CITATION,
    homepage: HOMEPAGE,
    class_names: names::DIGITS,
    image: [1, 28, 28],
    counts: Counts { train: 60_000, test: 10_000 },
    mean: MEAN,
    std: STD,
    remotes: &[
        remote(
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        remote(
            "train-labels-idx1-ubyte.gz",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        remote(
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        remote("t10k-labels-idx1-ubyte.gz", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ],
    files: &[
        DataFile {
            name: "train-images-idx3-ubyte",
            split: Split::Train,
            count: 60_000,
            content: Content::IdxImages,
            known: &[published("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db")],
        },
        DataFile {
            name: "train-labels-idx1-ubyte",
            split: Split::Train,
            count: 60_000,
            content: Content::IdxLabels,
            known: &[published("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5")],
        },
        DataFile {
            name: "t10k-images-idx3-ubyte",
            split: Split::Test,
            count: 10_000,
            content: Content::IdxImages,
            known: &[published("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7")],
        },
        DataFile {
            name: "t10k-labels-idx1-ubyte",
            split: Split::Test,
            count: 10_000,
            content: Content::IdxLabels,
            known: &[published("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2")],
        },
    ],
    // torchvision's `root` leaves them in MNIST/raw.
    forms: Forms { subfolders: &["raw", "MNIST/raw"], archives: &[], pickles: &[], built_in: None, strips: false },
};

/// A tenth of MNIST, built in: see `assets/mnist_subset/README.md` for the selection and how it was made.
pub static MNIST_SUBSET: Entry = Entry {
    name: "mnist_subset",
    title: "MNIST subset (10,000 + 2,000)",
    about: "the first 1,000 training and 200 test images of each digit of MNIST; built in",
    licence: LICENCE,
    citation: CITATION,
    homepage: HOMEPAGE,
    class_names: names::DIGITS,
    image: [1, 28, 28],
    counts: Counts { train: 10_000, test: 2_000 },
    mean: MEAN,
    std: STD,
    remotes: &[],
    files: &[
        DataFile {
            name: "train.bin",
            split: Split::Train,
            count: 10_000,
            content: Content::Records { coarse_classes: 0 },
            known: &[published("2730cb21562d015678810b318013a5cb2b5c9383c36c8ac6155d239dd1563d76")],
        },
        DataFile {
            name: "test.bin",
            split: Split::Test,
            count: 2_000,
            content: Content::Records { coarse_classes: 0 },
            known: &[published("4f7b372363542394fc63fed0e7e9dceccf6bbaa9d1ecf07eecde280088d8319d")],
        },
    ],
    forms: Forms {
        subfolders: &[],
        archives: &[],
        pickles: &[],
        built_in: Some(BuiltIn {
            train: include_bytes!("../../assets/mnist_subset/train.tar"),
            test: include_bytes!("../../assets/mnist_subset/test.tar"),
        }),
        strips: false,
    },
};

const fn remote(file: &'static str, bytes: u64, sha256: &'static str) -> Remote {
    Remote { file, bytes, sha256, mirrors: MIRRORS }
}

const fn published(sha256: &'static str) -> Known {
    Known { sum: Sum::Sha256(sha256), note: None }
}
