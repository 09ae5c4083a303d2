package fts

import "fmt"

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
	Binary   Type = 0x0102 // []byte
	Multi    Type = 0x1000 // flag: a slice of the base type
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

// FormatError says where and why a stream is not a FastTransfer stream.
type FormatError struct {
	Offset int64 // bytes from the beginning of the stream
	Reason string
}

func (e *FormatError) Error() string { return fmt.Sprintf("fts: offset %d: %s", e.Offset, e.Reason) }
