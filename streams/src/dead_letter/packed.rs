//! Entries with more fields than a script can pass on are kept in one piece: names and values in turn, as one `MessagePack`
//! list, which is what the scripting of Redis can make. Pure.

/// The field that holds the list.
pub(super) const PACKED: &str = "dead-letter.packed";

/// The names and values of a packed entry; none when it is no list of texts.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = packed;
    let length = match take(&mut rest, 1)? {
        [0xdc] => number(&mut rest, 2)?,
        [0xdd] => number(&mut rest, 4)?,
        _ => return None,
    };
    let texts: Option<Vec<_>> = (0..length).map(|_| text(&mut rest)).collect();
    texts.filter(|_| rest.is_empty())
}

fn text(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let length = match take(rest, 1)? {
        [short @ 0xa0..=0xbf] => usize::from(short & 0x1f),
        [0xd9] => number(rest, 1)?,
        [0xda] => number(rest, 2)?,
        [0xdb] => number(rest, 4)?,
        _ => return None,
    };
    take(rest, length).map(<[u8]>::to_vec)
}

fn number(rest: &mut &[u8], bytes: usize) -> Option<usize> {
    let bytes = take(rest, bytes)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_of_text_is_read_and_nothing_else() {
        let long = vec![b'x'; 70_000];
        let mut packed = vec![0xdc, 0, 4, 0xa1, b'a', 0xd9, 2, b'b', 0xff, 0xda, 1, 0];
        packed.extend(&long[..256]);
        packed.extend([0xdb, 0, 1, 0x11, 0x70]);
        packed.extend(&long);
        let texts = unpack(&packed).unwrap();
        assert_eq!(texts[..2], [b"a".to_vec(), vec![b'b', 0xff]]);
        assert_eq!((texts[2].len(), texts[3].len()), (256, 70_000));
        for length in 0..packed.len() {
            assert_eq!(unpack(&packed[..length]), None, "cut at {length}");
        }
        packed.push(0);
        assert_eq!(unpack(&packed), None);
        assert_eq!(unpack(&[0xdc, 0, 1, 0xc0]), None);
    }
}
