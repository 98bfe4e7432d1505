//! Tar streams, read with limits: ustar, GNU and PAX, with sparse files.
//!
//! The tar crate reads names and PAX records of any length into memory, so that ten compressed megabytes could cost
//! the runtime all it has; and what it takes for an entry's length must be what is limited. Which fields count for
//! which type follows Go's `archive/tar`, with which most layers are written and read. Source: POSIX pax, GNU tar's
//! manual ("Basic Tar Format", "Storing Sparse Files").

use std::io::{self, Read};

/// The longest name or set of PAX records, as in Go.
const MAX_EXTENSION: u64 = 1 << 20;
/// The most pieces of a sparse file.
const MAX_PIECES: usize = 1 << 16;
const BLOCK: usize = 512;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Character,
    Block,
    Directory,
    Fifo,
    /// Something that we know not.
    Other(u8),
}

/// A file's data: `length` bytes at `offset`; the rest is holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// One entry. Its data is read from the stream before the next entry is.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    /// The file's length, holes included.
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: i64,
    pub(crate) device: (u32, u32),
    /// Extended attributes.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the data goes, of a sparse file.
    pub(crate) sparse: Option<Vec<Piece>>,
}

/// What PAX records and GNU's long names say of the next entry.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// GNU's sparse format 1.0: real name and length.
    sparse_name: Option<Vec<u8>>,
    sparse_size: Option<u64>,
    sparse_version: Option<(u64, u64)>,
}

/// Reads entries one after the other.
pub(crate) struct TarStream<R> {
    source: R,
    /// Data of the current entry that was not read yet, and the padding behind it.
    left: u64,
    padding: u64,
}

fn bad(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("archive/tar: {}", why.into()))
}

impl<R: Read> TarStream<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, left: 0, padding: 0 }
    }

    /// The next entry; none at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut extension = Extension::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let size = number(&header[124..136])?;
            match header[156] {
                b'g' => self.data(size),
                b'x' => {
                    let records = self.extension(size)?;
                    pax(&records, &mut extension)?;
                }
                b'L' => extension.path = Some(until_nul(&self.extension(size)?).to_vec()),
                b'K' => extension.link = Some(until_nul(&self.extension(size)?).to_vec()),
                _ => return self.entry(&header, size, extension).map(Some),
            }
        }
    }

    /// The next header block, held against its checksum; none at the end.
    fn header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let rest = self.left.saturating_add(self.padding);
        if io::copy(&mut (&mut self.source).take(rest), &mut io::sink())? < self.left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (self.left, self.padding) = (0, 0);
        let mut block = [0; BLOCK];
        if !fill(&mut self.source, &mut block)? || block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let sums = block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { b' ' } else { *b });
        let sum: u64 = sums.map(u64::from).sum();
        match number(&block[148..156]) {
            Ok(said) if said == sum => Ok(Some(block)),
            _ => Err(bad("invalid tar header")),
        }
    }

    fn data(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(bad(format!(
                "a name or PAX records of {size} bytes, at most {MAX_EXTENSION} are read"
            )));
        }
        self.data(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn entry(&mut self, header: &[u8; BLOCK], size: u64, extension: Extension) -> io::Result<Entry> {
        let mut entry = plain(header)?;
        entry.path = extension.path.unwrap_or(entry.path);
        entry.link = extension.link.unwrap_or(entry.link);
        entry.uid = extension.uid.unwrap_or(entry.uid);
        entry.gid = extension.gid.unwrap_or(entry.gid);
        entry.mtime = extension.mtime.unwrap_or(entry.mtime);
        entry.xattrs = extension.xattrs;
        let size = extension.size.unwrap_or(size);
        if entry.kind == Kind::File && entry.path.ends_with(b"/") {
            entry.kind = Kind::Directory;
        }
        // Other types have no data, whatever they say.
        let has_data = matches!(entry.kind, Kind::File | Kind::Other(_));
        entry.size = if has_data { size } else { 0 };
        if header[156] == b'S' {
            entry.sparse = Some(self.gnu_pieces(header)?);
            entry.size = number(&header[483..495])?;
        }
        self.data(if has_data { size } else { 0 });
        match extension.sparse_version {
            None => {}
            Some((1, 0)) if entry.kind == Kind::File => {
                entry.sparse = Some(self.pax_pieces()?);
                entry.size = extension.sparse_size.ok_or_else(|| bad("a sparse file without its length"))?;
                entry.path = extension.sparse_name.unwrap_or(entry.path);
            }
            Some(_) => return Err(bad("a sparse file of a format other than 1.0")),
        }
        if let Some(pieces) = &entry.sparse {
            check(pieces, entry.size, self.left)?;
        }
        Ok(entry)
    }

    /// GNU's old form: four pieces in the header, 21 in each block that follows.
    fn gnu_pieces(&mut self, header: &[u8; BLOCK]) -> io::Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut take = |table: &[u8]| -> io::Result<()> {
            for slot in table.chunks_exact(24).filter(|slot| slot[0] != 0) {
                let (offset, length) = (number(&slot[..12])?, number(&slot[12..])?);
                pieces.push(Piece { offset, length });
            }
            (pieces.len() <= MAX_PIECES).then_some(()).ok_or_else(|| bad("a sparse file of too many pieces"))
        };
        take(&header[386..482])?;
        let mut more = header[482];
        let mut blocks = 0;
        while more != 0 {
            let mut block = [0; BLOCK];
            self.source.read_exact(&mut block)?;
            take(&block[..504])?;
            more = block[504];
            blocks += 1;
            if blocks > MAX_PIECES {
                return Err(bad("a sparse file of too many pieces"));
            }
        }
        Ok(pieces)
    }

    /// PAX format 1.0: numbers in lines before the data, filled up to a whole block.
    fn pax_pieces(&mut self) -> io::Result<Vec<Piece>> {
        let begin = self.left;
        let count = self.line()?;
        if count > MAX_PIECES as u64 {
            return Err(bad("a sparse file of too many pieces"));
        }
        let mut pieces = Vec::new();
        for _ in 0..count {
            pieces.push(Piece { offset: self.line()?, length: self.line()? });
        }
        let filling = (begin - self.left).wrapping_neg() % BLOCK as u64;
        io::copy(&mut self.by_ref().take(filling), &mut io::sink())?;
        Ok(pieces)
    }

    fn line(&mut self) -> io::Result<u64> {
        let mut value: u64 = 0;
        loop {
            let mut byte = [0];
            self.read_exact(&mut byte)?;
            let digit = match byte[0] {
                b'\n' => return Ok(value),
                digit @ b'0'..=b'9' => u64::from(digit - b'0'),
                _ => return Err(bad("a sparse file's map that is no number")),
            };
            let next = value.checked_mul(10).and_then(|v| v.checked_add(digit));
            value = next.ok_or_else(|| bad("a sparse file's map with a number too large"))?;
        }
    }
}

impl<R: Read> Read for TarStream<R> {
    /// The current entry's data, without holes.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.source.read(&mut buffer[..most])?;
        self.left -= n as u64;
        match n {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => Ok(n),
        }
    }
}

/// Fills a block; false if the source was at its end.
pub(crate) fn fill(source: &mut impl Read, block: &mut [u8]) -> io::Result<bool> {
    let mut done = 0;
    while done < block.len() {
        match source.read(&mut block[done..]) {
            Ok(0) if done == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// What the header itself says.
fn plain(header: &[u8; BLOCK]) -> io::Result<Entry> {
    let mut path = until_nul(&header[..100]).to_vec();
    let prefix = until_nul(&header[345..500]);
    if &header[257..263] == b"ustar\0" && !prefix.is_empty() {
        path = [prefix, b"/", &path].concat();
    }
    let kind = match header[156] {
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::Character,
        b'4' => Kind::Block,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => Kind::Other(other),
    };
    // A blank or broken field of these is root's, as tar reads it.
    let lenient = |field: &[u8]| number(field).unwrap_or(0);
    let small = |field: &[u8]| u32::try_from(lenient(field)).unwrap_or(0);
    Ok(Entry {
        kind,
        path,
        link: until_nul(&header[157..257]).to_vec(),
        size: 0,
        mode: u32::try_from(number(&header[100..108])? & 0o7777).unwrap_or(0),
        uid: lenient(&header[108..116]),
        gid: lenient(&header[116..124]),
        mtime: i64::try_from(lenient(&header[136..148])).unwrap_or(0),
        device: (small(&header[329..337]), small(&header[337..345])),
        xattrs: Vec::new(),
        sparse: None,
    })
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

/// A number in octal, or (GNU) in binary with the first bit set.
fn number(field: &[u8]) -> io::Result<u64> {
    let wrong = || bad("invalid tar header");
    if let [first, rest @ ..] = field
        && first & 0x80 != 0
    {
        let begin = u64::from(first & 0x7f);
        let join = |sum: Option<u64>, b: &u8| Some(sum?.checked_mul(256)? | u64::from(*b));
        return rest.iter().fold(Some(begin), join).ok_or_else(wrong);
    }
    let text = std::str::from_utf8(field).map_err(|_| wrong())?;
    let text = text.trim_start_matches(['\0', ' ']).split('\0').next().unwrap_or_default();
    match text.trim_end() {
        "" => Ok(0),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
            u64::from_str_radix(digits, 8).map_err(|_| wrong())
        }
        _ => Err(wrong()),
    }
}

/// Reads records of the form `<length> <key>=<value>\n`.
fn pax(mut records: &[u8], into: &mut Extension) -> io::Result<()> {
    let wrong = || bad("invalid PAX records");
    while !records.is_empty() && records[0] != 0 {
        let space = records.iter().take(20).position(|b| *b == b' ').ok_or_else(wrong)?;
        let length: usize =
            std::str::from_utf8(&records[..space]).ok().and_then(|t| t.parse().ok()).ok_or_else(wrong)?;
        let (record, rest) = records.split_at_checked(length).ok_or_else(wrong)?;
        let record = record.get(space + 1..).and_then(|r| r.strip_suffix(b"\n")).ok_or_else(wrong)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(wrong)?;
        keep(&record[..equals], &record[equals + 1..], into).ok_or_else(wrong)?;
        records = rest;
    }
    Ok(())
}

/// Keeps what one record says; none if it is not what its key wants.
fn keep(key: &[u8], value: &[u8], into: &mut Extension) -> Option<()> {
    let text = || std::str::from_utf8(value).ok();
    let number = || text()?.parse::<u64>().ok();
    match key {
        b"path" => into.path = Some(value.to_vec()),
        b"linkpath" => into.link = Some(value.to_vec()),
        b"size" => into.size = Some(number()?),
        b"uid" => into.uid = Some(number()?),
        b"gid" => into.gid = Some(number()?),
        b"mtime" => into.mtime = Some(text()?.split('.').next()?.parse().ok()?),
        b"GNU.sparse.name" => into.sparse_name = Some(value.to_vec()),
        b"GNU.sparse.realsize" | b"GNU.sparse.size" => into.sparse_size = Some(number()?),
        b"GNU.sparse.major" => into.sparse_version.get_or_insert_default().0 = number()?,
        b"GNU.sparse.minor" => into.sparse_version.get_or_insert_default().1 = number()?,
        b"GNU.sparse.map" | b"GNU.sparse.numblocks" => _ = into.sparse_version.get_or_insert_default(),
        key => {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                into.xattrs.push((name.to_vec(), value.to_vec()));
            }
        }
    }
    Some(())
}

/// Pieces must be in order, inside of the file, and as long as the data that is there.
fn check(pieces: &[Piece], size: u64, data: u64) -> io::Result<()> {
    let (mut end, mut sum) = (0u64, 0u64);
    for piece in pieces {
        let next = piece.offset.checked_add(piece.length).filter(|next| piece.offset >= end && *next <= size);
        end = next.ok_or_else(|| bad("a sparse file's map is out of order"))?;
        // No overflow: the pieces lie beside each other within `size`.
        sum += piece.length;
    }
    (sum == data).then_some(()).ok_or_else(|| bad("a sparse file's map does not fit its data"))
}

#[cfg(test)]
pub(crate) mod tests;
