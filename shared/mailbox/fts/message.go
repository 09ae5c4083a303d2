// Package fts reads, checks, summarises and writes the FastTransfer stream of one item, as Exchange's ExportItems and
// UploadItems and Microsoft Graph's exportItems and importItem carry it: an envelope of records around a
// messageContent property stream (MS-OXCFXICS 2.2.4).
//
//	record  = opcode length bytes            ; both u32, little-endian
//	stream  = Config IsInterfaceOk TellPartnerVersion 1*TransferBuffer
//	content = the bytes of the transfer buffers, joined
//
// [Check] and [Summarize] need constant memory whatever the item weighs; [Read] holds the item in memory. All three walk
// the same grammar with the same [Reader] and agree on what is a stream.
package fts

import (
	"fmt"
	"io"
)

// Type is a MAPI property type as the stream carries it (MS-OXCDATA 2.11.1). Strings are always [Unicode] here: the
// reader turns code-page strings into Go strings.
type Type uint16

const (
	Int16    Type = 0x0002 // int16
	Int32    Type = 0x0003 // int32
	Float32  Type = 0x0004 // float32
	Float64  Type = 0x0005 // float64
	Currency Type = 0x0006 // int64, in 1/10,000
	AppTime  Type = 0x0007 // float64, days since 1899-12-30
	Error    Type = 0x000A // uint32
	Bool     Type = 0x000B // bool, two bytes on the wire
	Object   Type = 0x000D // []byte
	Int64    Type = 0x0014 // int64
	Unicode  Type = 0x001F // string
	Time     Type = 0x0040 // time.Time in UTC, 100 ns steps
	GUID     Type = 0x0048 // [16]byte in wire order
	ServerID Type = 0x00FB // []byte
	Binary   Type = 0x0102 // []byte
	Multi    Type = 0x1000 // flag: a slice of the base type
	CodePage Type = 0x8000 // flag: a string in the code page of the low bits, kept as []byte when it cannot be decoded
)

// Name is what stands behind a property id of 0x8000 and above: a property set and either a number or a string.
type Name struct {
	Set  [16]byte // property set GUID in wire order
	LID  uint32   // used when Text is ""
	Text string
}

// Property is one property with its value; the Go type of Value is given beside each [Type].
type Property struct {
	ID    uint16 // below 0x8000; 0x8000 and above when Name is set, the number itself then means nothing
	Type  Type
	Name  *Name
	Value any
}

// Large is a value of type [Binary] or [Object] that [Write] takes from a reader, so that a big attachment never is in
// memory. Open may be called any number of times. [Read] never returns one.
type Large struct {
	Size int64 // exact number of bytes that Open yields, less than 4 GiB
	Open func() (io.ReadCloser, error)
}

// Prop makes an unnamed property and takes its type from the Go type of v: a []byte is [Binary], an int64 is [Int64], a
// float64 is [Float64], slices are [Multi]. A Go type that no property has gives type 0, which [Write] refuses.
func Prop(id uint16, v any) Property { return Property{ID: id, Type: typeOf(v), Value: v} }

// Prop makes a named property as the function [Prop] does. Its id is derived from the name: the same name has the same
// id everywhere.
func (n Name) Prop(v any) Property {
	id := uint32(2166136261) // FNV-1a
	for _, b := range append(append([]byte(n.Text), n.Set[:]...), byte(n.LID), byte(n.LID>>8), byte(n.LID>>16), byte(n.LID>>24)) {
		id = (id ^ uint32(b)) * 16777619
	}
	return Property{ID: 0x8000 + uint16(id%0x7FFE), Type: typeOf(v), Name: &n, Value: v}
}

// Properties is a property list in stream order.
type Properties []Property

// Value returns the value of an unnamed property, nil when absent.
func (ps Properties) Value(id uint16) any {
	for i := range ps {
		if ps[i].ID == id && ps[i].Name == nil {
			return ps[i].Value
		}
	}
	return nil
}

// Named returns the value of a named property, nil when absent.
func (ps Properties) Named(n Name) any {
	for i := range ps {
		if ps[i].Name != nil && *ps[i].Name == n {
			return ps[i].Value
		}
	}
	return nil
}

// Set replaces the value of the property that has p's id or name, or appends p.
func (ps *Properties) Set(p Property) {
	for i, old := range *ps {
		same := old.ID == p.ID && old.Name == nil && p.Name == nil
		if same || old.Name != nil && p.Name != nil && *old.Name == *p.Name {
			(*ps)[i] = p
			return
		}
	}
	*ps = append(*ps, p)
}

// Message is a message object: its properties, recipients and attachments.
type Message struct {
	Properties  Properties
	Recipients  []Properties
	Attachments []Attachment
}

// Attachment is one attachment. Embedded is set when it holds a message (PidTagAttachMethod 5).
type Attachment struct {
	Number     int32
	Properties Properties
	Embedded   *Message
}

// Version is the server version that the stream's third record announces.
type Version struct{ Major, Minor, Build, Revision uint16 }

func (v Version) String() string {
	return fmt.Sprintf("%d.%d.%d.%d", v.Major, v.Minor, v.Build, v.Revision)
}

// FormatError says where and why a stream is not a FastTransfer stream of one message.
type FormatError struct {
	Offset int64 // bytes from the beginning of the stream
	Reason string
	Cut    bool // the stream ends too early or carries the server's mark of truncation: exporting again may help
}

func (e *FormatError) Error() string { return fmt.Sprintf("fts: offset %d: %s", e.Offset, e.Reason) }
