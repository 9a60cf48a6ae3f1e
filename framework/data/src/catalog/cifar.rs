//! CIFAR-10 and CIFAR-100, in their binary version.
//!
//! Sums of the archives: TensorFlow Datasets (`url_checksums/cifar10.txt`, `cifar100.txt`). MD5 of
//! the files in them: rai-project/dldataset, and for CIFAR-10 public CMake scripts
//! (`fetch_cifar10`), which agree. SHA-256 of the files: this project's.

use super::{Content, DataFile, DatasetInfo, Forms, Known, Split, Sum, names};
use crate::facts::{Counts, Remote};

const LICENCE: &str = "none stated by its authors; cite it";
const CITATION: &str =
    "Krizhevsky: Learning Multiple Layers of Features from Tiny Images. Technical report, University of Toronto, 2009.";
const HOMEPAGE: &str = "https://www.cs.toronto.edu/~kriz/cifar.html";
const MIRRORS: &[&str] = &["https://www.cs.toronto.edu/~kriz/"];
const RESTORED: &str = "this copy of CIFAR-10 was restored from several sources: 77 training and 21 test images come from JPEG and differ from the published pixels (by about 8/255, root mean square); `foil data get cifar10` fetches the published ones";

/// CIFAR-10.
pub static CIFAR10: DatasetInfo = DatasetInfo {
    name: "cifar10",
    title: "CIFAR-10",
    about: "photographs in 10 classes, colour, 32 x 32",
    licence: LICENCE,
    citation: CITATION,
    homepage: HOMEPAGE,
    class_names: names::CIFAR10,
    image: [3, 32, 32],
    counts: Counts { train: 50_000, test: 10_000 },
    mean: &[0.49140, 0.48216, 0.44653],
    std: &[0.24703, 0.24348, 0.26159],
    remotes: &[Remote {
        file: "cifar-10-binary.tar.gz",
        bytes: 170_052_171,
        sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        mirrors: MIRRORS,
    }],
    files: &[
        batch(
            "data_batch_1.bin",
            Split::Train,
            &[
                md5("5dd7e06a14cb22eb9f671a540d1b7c25"),
                restored("0def081c410489f98b3935c2d405fc7436d23377894a5d6a710ce1fad8082588"),
            ],
        ),
        batch(
            "data_batch_2.bin",
            Split::Train,
            &[
                md5("5ea93a67294ea407fff1d09f752e9692"),
                restored("69cda47c0145e3c217e9d41887b354db05bc67d8e824a0007c909625de6c9935"),
            ],
        ),
        batch(
            "data_batch_3.bin",
            Split::Train,
            &[
                md5("942cd6a4bcdd0dd3c604fbe906cb4421"),
                restored("1a4d0920ea06101641902b09fdac800cad7b5105963deee31ddff8e83fbabe6c"),
            ],
        ),
        batch(
            "data_batch_4.bin",
            Split::Train,
            &[
                md5("ae636b3ba5c66a11e91e8cb52e771fcb"),
                restored("7f8e9534c4aa91fa34cb7cb4561b126eac16e9a5aff31f1fdb6b38d83f3b92d6"),
            ],
        ),
        batch(
            "data_batch_5.bin",
            Split::Train,
            &[
                md5("53f37980c15c3d472c316c40844f3f0d"),
                restored("ace578a129b1d9695ee4254afb079a7573b408a36f818d5d96062484607c1619"),
            ],
        ),
        batch(
            "test_batch.bin",
            Split::Test,
            &[
                md5("803d5f7f4d78ea53de84dbe85f74fb6d"),
                restored("b7a8afae140bbcc0153185efcbd5d6b73bc11a49943288e23ba94c44c391c169"),
            ],
        ),
    ],
    forms: Forms {
        subfolders: &["cifar-10-batches-bin"],
        archives: &["cifar-10-binary.tar.gz", "cifar-10-binary.tar"],
        pickles: &["cifar-10-batches-py", "cifar-10-python.tar.gz", "data_batch_1"],
        built_in: None,
        strips: true,
    },
};

/// CIFAR-100.
pub static CIFAR100: DatasetInfo = DatasetInfo {
    name: "cifar100",
    title: "CIFAR-100",
    about: "photographs in 100 classes (20 coarse ones), colour, 32 x 32",
    licence: LICENCE,
    citation: CITATION,
    homepage: HOMEPAGE,
    class_names: names::CIFAR100,
    image: [3, 32, 32],
    counts: Counts { train: 50_000, test: 10_000 },
    mean: &[0.50708, 0.48655, 0.44092],
    std: &[0.26733, 0.25644, 0.27615],
    remotes: &[Remote {
        file: "cifar-100-binary.tar.gz",
        bytes: 168_513_733,
        sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        mirrors: MIRRORS,
    }],
    files: &[
        DataFile {
            name: "train.bin",
            split: Split::Train,
            count: 50_000,
            content: Content::Records { coarse_classes: 20 },
            // Its MD5, 6172c7755cfe09b2fe270c85cebc1b15, is the published file's.
            known: &[sha256("f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29", None)],
        },
        DataFile {
            name: "test.bin",
            split: Split::Test,
            count: 10_000,
            content: Content::Records { coarse_classes: 20 },
            // Its MD5, 4499cfba6c016c1be1438163640a0898, is the published file's.
            known: &[sha256("d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a", None)],
        },
    ],
    forms: Forms {
        subfolders: &["cifar-100-binary"],
        archives: &["cifar-100-binary.tar.gz", "cifar-100-binary.tar"],
        pickles: &["cifar-100-python", "cifar-100-python.tar.gz"],
        built_in: None,
        strips: true,
    },
};

const fn batch(name: &'static str, split: Split, known: &'static [Known]) -> DataFile {
    DataFile { name, split, count: 10_000, content: Content::Records { coarse_classes: 0 }, known }
}

const fn sha256(sum: &'static str, note: Option<&'static str>) -> Known {
    Known { sum: Sum::Sha256(sum), note }
}

const fn md5(sum: &'static str) -> Known {
    Known { sum: Sum::Md5(sum), note: None }
}

const fn restored(sum: &'static str) -> Known {
    sha256(sum, Some(RESTORED))
}
