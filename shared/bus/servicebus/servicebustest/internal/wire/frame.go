package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Frame types (2.3.1, 5.3.1).
const (
	FrameAMQP = 0
	FrameSASL = 1
)

// MinFrame is the frame size every peer must accept (2.7.1).
const MinFrame = 512

// Frame is one frame as it was read. An empty body is a heartbeat.
type Frame struct {
	Type    byte
	Channel uint16
	Body    []byte
}

// ReadFrame reads a frame of at most limit bytes.
func ReadFrame(r io.Reader, limit uint32) (Frame, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Frame{}, err
	}
	size, offset := binary.BigEndian.Uint32(head[:]), uint32(head[4])*4
	if size > limit {
		return Frame{}, fmt.Errorf("read frame: %d bytes, limit %d", size, limit)
	}
	if offset < 8 || offset > size {
		return Frame{}, fmt.Errorf("read frame: data offset %d in a frame of %d bytes", offset, size)
	}
	body := make([]byte, size-8)
	if _, err := io.ReadFull(r, body); err != nil {
		return Frame{}, fmt.Errorf("read frame body: %w", err)
	}
	return Frame{head[5], binary.BigEndian.Uint16(head[6:]), body[offset-8:]}, nil
}

// AppendFrame writes a frame whose body write appends.
func AppendFrame(b []byte, kind byte, channel uint16, write func([]byte) []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 2, kind, byte(channel>>8), byte(channel))
	if write != nil {
		b = write(b)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// Header is a protocol header (2.2, 5.3).
type Header [8]byte

// ProtocolHeader returns the header of a protocol of AMQP 1.0.
func ProtocolHeader(protocol byte) Header {
	return Header{'A', 'M', 'Q', 'P', protocol, 1, 0, 0}
}

// Protocols of a [Header].
const (
	ProtocolAMQP = 0
	ProtocolTLS  = 2
	ProtocolSASL = 3
)
