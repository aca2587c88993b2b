//! Bytes as others may send them, for a property of every parser that reads what others wrote: arbitrary ones, and those
//! kept in `tests/corpus/`, whole or damaged. An input that broke a parser is kept there as a file.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;

const MOST_ARBITRARY_BYTES: usize = 200;
const MOST_DAMAGES: usize = 6;

/// The inputs kept for a parser, in the order of their names.
///
/// # Panics
/// If there is none.
pub(crate) fn corpus(parser: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = root.ancestors().map(|folder| folder.join("tests/corpus").join(parser));
    let folder = folders.find(|folder| folder.is_dir()).expect("a folder of inputs");
    let entries = fs::read_dir(folder).expect("a folder of inputs");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "tests/corpus/{parser} holds no input");
    let read = |file| fs::read(file).expect("an input");
    files.iter().map(read).collect()
}

/// Of the corpus and damaged, or arbitrary.
pub(crate) fn bad_bytes(parser: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let arbitrary = prop::collection::vec(any::<u8>(), 0..MOST_ARBITRARY_BYTES);
    prop_oneof![6 => damaged(corpus(parser)), 1 => arbitrary]
}

/// The same as text: what is not UTF-8 is replaced.
pub(crate) fn bad_text(parser: &str) -> impl Strategy<Value = String> + use<> {
    bad_bytes(parser).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// One of these, damaged in up to six places.
pub(crate) fn damaged(valid: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damages = prop::collection::vec(damage(), 0..MOST_DAMAGES);
    (any::<Index>(), any::<Index>(), damages).prop_map(move |(one, other, damages)| {
        let (mut bytes, other) = (one.get(&valid).clone(), other.get(&valid));
        damages.iter().for_each(|damage| damage.befall(&mut bytes, other));
        bytes
    })
}

#[derive(Clone, Debug)]
enum Damage {
    /// A byte is another one.
    Altered(Index, u8),
    /// A few bytes stand there besides.
    Inserted(Index, Vec<u8>),
    /// A piece is missing.
    Lost(Index, Index),
    /// A piece stands there many times.
    Repeated(Index, Index, usize),
    /// A piece is of another input.
    Mixed(Index, Index),
    /// The end is missing.
    CutShort(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    // What parsers look out for comes more often than chance has it.
    let telling: &[u8] = b"\0\n\r\t \"'\\/{}[]:,-+.0123456789eE<>*&#%=;\x1b\x7f\x80\xc3\xff";
    let byte = prop_oneof![any::<u8>(), prop::sample::select(telling)];
    prop_oneof![
        (at(), byte.clone()).prop_map(|(at, byte)| Damage::Altered(at, byte)),
        (at(), prop::collection::vec(byte, 1..12)).prop_map(|(at, bytes)| Damage::Inserted(at, bytes)),
        (at(), at()).prop_map(|(from, to)| Damage::Lost(from, to)),
        (at(), at(), 2..60usize).prop_map(|(from, to, times)| Damage::Repeated(from, to, times)),
        (at(), at()).prop_map(|(at, from)| Damage::Mixed(at, from)),
        at().prop_map(Damage::CutShort),
    ]
}

impl Damage {
    fn befall(&self, bytes: &mut Vec<u8>, other: &[u8]) {
        const LONGEST: usize = 20_000;
        let place = |index: &Index, length: usize| index.index(length + 1);
        let span = |one: &Index, two: &Index, length: usize| {
            let (one, two) = (place(one, length), place(two, length));
            one.min(two)..one.max(two)
        };
        match self {
            Damage::Altered(at, byte) if !bytes.is_empty() => *at.get_mut(bytes) = *byte,
            Damage::Altered(..) => {}
            Damage::Inserted(at, more) => {
                let at = place(at, bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Damage::Lost(from, to) => drop(bytes.drain(span(from, to, bytes.len()))),
            Damage::Repeated(from, to, times) => {
                let span = span(from, to, bytes.len());
                let piece = bytes[span.clone()].repeat(*times);
                bytes.splice(span, piece.into_iter().take(LONGEST));
            }
            Damage::Mixed(at, from) => {
                let (at, from) = (place(at, bytes.len()), place(from, other.len()));
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            Damage::CutShort(at) => bytes.truncate(place(at, bytes.len())),
        }
    }
}
