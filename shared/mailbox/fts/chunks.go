package fts

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"
)

// maxChunk is the bytes of a transfer buffer: what Exchange Online itself uses. A receiver takes at most 65,535.
const maxChunk = 31680

// chunks writes transfer buffers. A buffer ends between two atoms or inside the bytes of a string or binary.
type chunks struct {
	w   io.Writer
	buf []byte
	n   int64 // bytes written, envelope included
	err error
}

func (c *chunks) write(p []byte) {
	if c.err != nil {
		return
	}
	n, err := c.w.Write(p)
	c.n += int64(n)
	if err != nil {
		c.err = fmt.Errorf("write stream: %w", err)
	}
}

func (c *chunks) record(op uint32, body []byte) {
	var head [8]byte
	binary.LittleEndian.PutUint32(head[:], op)
	binary.LittleEndian.PutUint32(head[4:], uint32(len(body)))
	c.write(head[:])
	c.write(body)
}

func (c *chunks) flush() {
	if len(c.buf) > 0 {
		c.record(opBuffer, c.buf)
	}
	c.buf = c.buf[:0]
}

// atom writes bytes that no buffer may split.
func (c *chunks) atom(p []byte) {
	if len(c.buf)+len(p) > maxChunk {
		c.flush()
	}
	c.buf = append(c.buf, p...)
}

// bytes writes the bytes of a value.
func (c *chunks) bytes(p []byte) {
	for len(p) > 0 && c.err == nil {
		free := c.free()
		n := copy(free, p)
		c.buf, p = c.buf[:len(c.buf)+n], p[n:]
	}
}

// free returns the room in the current buffer, never none.
func (c *chunks) free() []byte {
	if len(c.buf) == maxChunk {
		c.flush()
	}
	return c.buf[len(c.buf):maxChunk]
}

// copy writes a value of n bytes from r; a nil r stands for bytes that do not matter.
func (c *chunks) copy(r io.Reader, n int64) {
	for n > 0 && c.err == nil {
		free := c.free()
		free = free[:min(int64(len(free)), n)]
		if r != nil {
			if _, err := io.ReadFull(r, free); err != nil {
				c.err = fmt.Errorf("read large value with %d bytes to come: %w", n, err)
				return
			}
		}
		c.buf, n = c.buf[:len(c.buf)+len(free)], n-int64(len(free))
	}
}

// appendFixed appends a value of a fixed-size type; false means that v's Go type is not that of t, or a time is out of
// range.
func appendFixed(b []byte, t Type, v any) ([]byte, bool) {
	le := binary.LittleEndian
	switch v := v.(type) {
	case int16:
		return le.AppendUint16(b, uint16(v)), t == Int16
	case bool:
		n := uint16(0)
		if v {
			n = 1
		}
		return le.AppendUint16(b, n), t == Bool
	case int32:
		return le.AppendUint32(b, uint32(v)), t == Int32
	case uint32:
		return le.AppendUint32(b, v), t == Error
	case float32:
		return le.AppendUint32(b, math.Float32bits(v)), t == Float32
	case float64:
		return le.AppendUint64(b, math.Float64bits(v)), t == Float64 || t == AppTime
	case int64:
		return le.AppendUint64(b, uint64(v)), t == Int64 || t == Currency
	case time.Time:
		ticks, ok := toFiletime(v)
		return le.AppendUint64(b, uint64(ticks)), ok && t == Time
	case [16]byte:
		return append(b, v[:]...), t == GUID
	}
	return b, false
}
