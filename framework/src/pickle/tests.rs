//! Hostile pickles: whatever the bytes, reading ends quickly, with values or an error.

use super::*;
use proptest::prelude::*;

const LONGEST: usize = 64 << 20;

fn fault(bytes: &[u8]) -> Fault {
    read(bytes, LONGEST).map(|(table, _)| table.values.len()).expect_err("it was read").fault
}

/// `code` repeated between a start and an end.
fn repeated(start: &[u8], code: &[u8], times: usize, end: &[u8]) -> Vec<u8> {
    [start, &code.repeat(times), end].concat()
}

// import pickle, os
// class E:
//     def __reduce__(self): return os.system, ("id",)
// pickle.dumps({"a": 1, "state": {"b": [E()]}}, protocol=2)
#[test]
fn a_call_is_named_with_its_place() {
    let bytes = b"\x80\x02}(X\x01\x00\x00\x00aK\x01X\x05\x00\x00\x00state}X\x01\x00\x00\x00b]cposix\nsystem\nX\x02\x00\x00\x00id\x85Rasu.";
    let refused = read(bytes, LONGEST).unwrap_err();
    assert_eq!(refused.fault, Fault::Global("posix.system".into()));
    assert_eq!((refused.at, refused.near.as_str()), (30, "b"));
    let error = refused.into_error("net.pt: data.pkl").to_string();
    assert!(error.starts_with(
        "error: net.pt: data.pkl, byte 30, near `b`: it calls `posix.system`, which is Python code that foil does not run"
    ));
}

#[test]
fn every_way_to_name_a_function_meets_the_same_list() {
    assert_eq!(fault(b"cos\nsystem\n."), Fault::Global("os.system".into()));
    assert_eq!(fault(b"\x8c\x02os\x8c\x06system\x93."), Fault::Global("os.system".into()));
    assert_eq!(fault(b"cbuiltins\neval\n."), Fault::Global("builtins.eval".into()));
    // A dotted name could reach beyond an allowed module.
    assert_eq!(fault(b"ctorch\nSize.__init__\n."), Fault::Global("torch.Size.__init__".into()));
    // INST, OBJ, extension registry, and calls with keywords are instructions of their own.
    for code in [&b"(ios\nsystem\n."[..], b"(cos\nsystem\no.", b"\x82\x01.", b"\x92."] {
        assert!(matches!(fault(code), Fault::Unknown(_) | Fault::Global(_)), "{code:?}");
    }
}

#[test]
fn nothing_recurses() {
    let deep = 1_000_000;
    let (table, _) = read(&repeated(b"", b"]", deep, &[&b"a".repeat(deep - 1)[..], b"."].concat()), LONGEST).unwrap();
    assert_eq!(table.values.len(), deep);
    read(&repeated(b"N", b"\x85", deep, b"."), LONGEST).unwrap();
    // A list and a dictionary that hold themselves.
    let (table, _) = read(b"]q\x00h\x00a.", LONGEST).unwrap();
    assert!(matches!(table.get(table.root), Value::List(items) if items[..] == [table.root]));
    read(b"}q\x00X\x01\x00\x00\x00ah\x00s.", LONGEST).unwrap();
}

#[test]
fn nothing_is_copied_without_end() {
    // Each call asks for a copy of the same thousand entries.
    let entries = repeated(b"}q\x00(", b"NN", 1000, b"u");
    let calls = b"ccollections\nOrderedDict\nh\x00\x85R0".repeat(10_000);
    assert!(
        matches!(fault(&[&entries[..], &calls, b"."].concat()), Fault::Unknown(what) if what.contains("more values"))
    );
    let attributes = b"cargparse\nNamespace\n)Rh\x00b0".repeat(10_000);
    assert!(
        matches!(fault(&[&entries[..], &attributes, b"."].concat()), Fault::Unknown(what) if what.contains("more values"))
    );
    assert!(
        matches!(fault(&repeated(b"", b"N", 4_000_001, b".")), Fault::Unknown(what) if what.contains("more values"))
    );
}

#[test]
fn a_tensor_lies_within_its_storage() {
    let window = |offset: i64, shape: &[i64], strides: &[i64]| Strided::checked(offset, shape, strides, 12);
    assert_eq!(window(0, &[3, 4], &[4, 1]), Some(12));
    assert_eq!(window(2, &[2, 2], &[1, 5]), Some(4));
    assert_eq!(window(12, &[0], &[1]), Some(0));
    assert_eq!(window(3, &[], &[]), Some(1));
    for (offset, shape, strides) in [
        (1, &[3, 4][..], &[4, 1][..]),
        (0, &[13], &[1]),
        (0, &[13], &[0]), // expanded: larger than what is stored
        (-1, &[1], &[1]),
        (0, &[2], &[-1]),
        (0, &[-2], &[1]),
        (0, &[2, 2], &[1]),
        (0, &[i64::MAX, 2], &[1, 1]),
        (0, &[2, 2], &[i64::MAX, i64::MAX]),
        (i64::MAX, &[2], &[1]),
        (13, &[0], &[1]),
    ] {
        assert_eq!(window(offset, shape, strides), None, "{offset} {shape:?} {strides:?}");
    }
    assert_eq!(Strided::checked(0, &[1], &[1], u64::MAX), None);
}

/// A pickle of a state_dict, to damage.
fn sample() -> Vec<u8> {
    let bytes: &[u8] = b"\x80\x02ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQK\x00K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtRX\x01\x00\x00\x00n\x8a\x02\xe8\x03u}X\x01\x00\x00\x00aG?\xf0\x00\x00\x00\x00\x00\x00sb.";
    bytes.to_vec()
}

#[test]
fn a_state_dict() {
    let (table, used) = read(&sample(), LONGEST).unwrap();
    assert_eq!(used, sample().len());
    let Value::Dict(items, Some(attributes)) = table.get(table.root) else { panic!("{:?}", table.get(table.root)) };
    assert_eq!(table.as_text(items[0].0), Some("w"));
    let Value::Tensor(w) = table.get(items[0].1) else { panic!() };
    assert_eq!((w.kind, w.offset, &w.shape[..], &w.strides[..]), (tch::Kind::Float, 0, &[2, 3][..], &[3, 1][..]));
    assert!(matches!(table.get(items[1].1), Value::Int(1000)));
    assert!(matches!(table.get(*attributes), Value::Dict(..)));
}

/// Instructions that are likely to fit together, so that streams of them go deep.
fn instruction() -> impl Strategy<Value = Vec<u8>> {
    let fixed: Vec<&[u8]> = vec![
        b"(",
        b")",
        b"]",
        b"}",
        b"N",
        b"\x88",
        b"t",
        b"u",
        b"s",
        b"a",
        b"e",
        b"R",
        b"b",
        b"Q",
        b"0",
        b"1",
        b"2",
        b"\x85",
        b"\x86",
        b"\x87",
        b"q\x00",
        b"q\x01",
        b"h\x00",
        b"h\x01",
        b"\x94",
        b"l",
        b"d",
        b"\x81",
        b"\x93",
        b"K\x02",
        b"J\xff\xff\xff\xff",
        b"X\x01\x00\x00\x000",
        b"X\x07\x00\x00\x00storage",
        b"ctorch\nFloatStorage\n",
        b"ctorch\nSize\n",
        b"ccollections\nOrderedDict\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch._utils\n_rebuild_parameter\n",
        b"cargparse\nNamespace\n",
    ];
    prop_oneof![9 => proptest::sample::select(fixed).prop_map(<[u8]>::to_vec), 1 => proptest::collection::vec(any::<u8>(), 1..4)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes, LONGEST);
    }

    #[test]
    fn any_instructions(codes in proptest::collection::vec(instruction(), 0..80)) {
        let bytes = [codes.concat(), b".".to_vec()].concat();
        if let Ok((table, used)) = read(&bytes, LONGEST) {
            prop_assert!(used <= bytes.len() && table.values.len() <= bytes.len());
            prop_assert!((table.root as usize) < table.values.len());
        }
    }

    #[test]
    fn a_damaged_state_dict(at in 0usize..256, byte in any::<u8>(), other in 0usize..256, cut in 0usize..512) {
        let mut bytes = sample();
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes[other % length] ^= 1 << (byte % 8);
        bytes.truncate(cut.max(1));
        if let Err(refused) = read(&bytes, LONGEST) {
            prop_assert!(refused.at <= bytes.len());
            prop_assert!(refused.into_error("x").message().starts_with("x, byte "));
        }
    }
}
