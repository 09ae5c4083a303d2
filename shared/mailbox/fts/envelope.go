package fts

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The records of the envelope.
const (
	opConfig      = 1 // flags, transfer method
	opBuffer      = 2 // bytes of the property stream
	opInterfaceOk = 3 // transfer method, interface id, flags
	opVersion     = 4 // server version

	copyTo = 1 // the transfer method of an item

	// oldest is Exchange 2010, the first server with ExportItems: major 14, minor 0.
	oldest = 0x0E00
	// normalized marks a version whose first word holds major and minor as two bytes (MS-OXCRPC 3.1.4.1.3).
	normalized = 0x8000
)

// iidMessage is IID_IMessage, {00020307-0000-0000-C000-000000000046}, in wire order.
const iidMessage = "\x07\x03\x02\x00\x00\x00\x00\x00\xC0\x00\x00\x00\x00\x00\x00\x46"

// truncated is what Exchange appends when it gives up in the middle of an item and still answers success.
const truncated = "=== Truncated Data ==="

// envelope reads the records and yields the property stream inside them.
type envelope struct {
	src     *bufio.Reader
	tail    *tail
	offset  int64 // of the next byte in the whole stream
	left    int64 // bytes left in the current transfer buffer
	buffers int
	version Version
}

func newEnvelope(r io.Reader) *envelope {
	t := &tail{r: r}
	return &envelope{src: bufio.NewReaderSize(t, 64<<10), tail: t}
}

// open reads and verifies the three records before the first transfer buffer.
func (e *envelope) open() error {
	config, err := e.fixed(opConfig, "Config", 8)
	if err != nil {
		return err
	}
	if u32(config) != 0 || u32(config[4:]) != copyTo {
		return e.broken("Config record is not flags 0, method CopyTo: not the stream of one item")
	}
	ok, err := e.fixed(opInterfaceOk, "IsInterfaceOk", 24)
	if err != nil {
		return err
	}
	if u32(ok) != copyTo || string(ok[4:20]) != iidMessage {
		return e.broken("IsInterfaceOk record does not name IID_IMessage: not the stream of a message")
	}
	version, err := e.fixed(opVersion, "TellPartnerVersion", 6)
	if err != nil {
		return err
	}
	return e.setVersion(version)
}

func (e *envelope) setVersion(b []byte) error {
	if u16(b) < oldest {
		return e.broken("server version is older than 14.0, or the version record is damaged")
	}
	e.version = Version{Major: uint16(b[1]), Minor: uint16(b[0]), Build: u16(b[2:]) &^ normalized, Revision: u16(b[4:])}
	return nil
}

// fixed reads a record that must have this opcode and length.
func (e *envelope) fixed(op uint32, name string, size int) ([]byte, error) {
	gotOp, gotSize, err := e.header()
	if errors.Is(err, io.EOF) {
		return nil, e.cut("stream ends before its %s record", name)
	}
	if err != nil {
		return nil, err
	}
	if gotOp != op || gotSize != int64(size) {
		return nil, e.broken("record %d of %d bytes where %s (%d, %d bytes) must stand", gotOp, gotSize, name, op, size)
	}
	b := make([]byte, size)
	return b, e.take(b)
}

// header reads a record's opcode and length. It returns io.EOF when the stream ends before it.
func (e *envelope) header() (op uint32, size int64, err error) {
	var b [8]byte
	n, err := io.ReadFull(e.src, b[:])
	e.offset += int64(n)
	if err == io.EOF {
		return 0, 0, io.EOF
	}
	if err != nil {
		return 0, 0, e.failed(err, "stream ends inside a record header")
	}
	return u32(b[:]), int64(u32(b[4:])), nil
}

// next goes to the next transfer buffer that holds bytes; io.EOF means that the stream has ended as it should.
func (e *envelope) next() error {
	for e.left == 0 {
		at := e.offset
		op, size, err := e.header()
		if err == io.EOF {
			return e.end()
		}
		if err != nil {
			return err
		}
		if op != opBuffer {
			e.offset = at
			return e.broken("record %d where only transfer buffers (2) may follow", op)
		}
		e.left, e.buffers = size, e.buffers+1
	}
	return nil
}

func (e *envelope) end() error {
	if e.buffers == 0 {
		return e.cut("stream has no transfer buffer")
	}
	if e.tail.marked() {
		return e.cut("the server cut the item short: its stream ends in %q", truncated)
	}
	return io.EOF
}

// Read yields the property stream.
func (e *envelope) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := e.next(); err != nil {
		return 0, err
	}
	n, err := e.src.Read(p[:min(int64(len(p)), e.left)])
	e.offset, e.left = e.offset+int64(n), e.left-int64(n)
	if err != nil && n == 0 {
		return 0, e.failed(err, fmt.Sprintf("stream ends %d bytes before its transfer buffer does", e.left))
	}
	return n, nil
}

// take fills p from the source, inside one record.
func (e *envelope) take(p []byte) error {
	n, err := io.ReadFull(e.src, p)
	e.offset += int64(n)
	if err != nil {
		return e.failed(err, "stream ends inside a record")
	}
	return nil
}

// skip passes over n bytes of the property stream; io.EOF means that it ended before.
func (e *envelope) skip(n int64) error {
	for n > 0 {
		if err := e.next(); err != nil {
			return err
		}
		done, err := e.src.Discard(int(min(n, e.left, 1<<20)))
		e.offset, e.left, n = e.offset+int64(done), e.left-int64(done), n-int64(done)
		if err != nil {
			return e.failed(err, fmt.Sprintf("stream ends %d bytes before its transfer buffer does", e.left))
		}
	}
	return nil
}

// failed turns an early end into a finding about the stream, and leaves the reader's own errors what they are.
func (e *envelope) failed(err error, reason string) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF && e.tail.err == io.EOF {
		return e.cut("%s", reason)
	}
	return fmt.Errorf("read stream: %w", err)
}

func (e *envelope) cut(format string, args ...any) error {
	return &FormatError{Offset: e.offset, Reason: e.marked(fmt.Sprintf(format, args...)), Cut: true}
}

// broken reports a damaged stream. It looks ahead for the mark of truncation, which explains most damage.
func (e *envelope) broken(format string, args ...any) error {
	const far = 1 << 20 // a mark further away than many chunks has nothing to do with this damage
	at, reason := e.offset, fmt.Sprintf(format, args...)
	_, _ = io.CopyN(io.Discard, e.src, far) // the damage is reported, whatever the reader says
	return &FormatError{Offset: at, Reason: e.marked(reason), Cut: e.tail.marked()}
}

func (e *envelope) marked(reason string) string {
	if e.tail.marked() {
		return fmt.Sprintf("the server cut the item short: its stream ends in %q (%s)", truncated, reason)
	}
	return reason
}

// tail remembers the last bytes of what was read from r.
type tail struct {
	r    io.Reader
	last []byte
	err  error
}

func (t *tail) Read(p []byte) (int, error) {
	const keep = len(truncated) + 16 // the mark and white space after it
	n, err := t.r.Read(p)
	t.last = append(t.last, p[max(0, n-keep):n]...)
	t.last = append(t.last[:0], t.last[max(0, len(t.last)-keep):]...)
	t.err = err
	return n, err
}

func (t *tail) marked() bool {
	return t.err == io.EOF && bytes.HasSuffix(bytes.TrimRight(t.last, " \t\r\n\x00"), []byte(truncated))
}

func u16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func u64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
