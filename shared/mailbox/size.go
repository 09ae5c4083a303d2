package mailbox

// MaxWire is the largest upload the target takes at once, in bytes: the whole of what one app may upload to a mailbox
// in five minutes (Graph throttling limits, Outlook service: 150 MB).
const MaxWire = 150_000_000

// Large is the size in bytes above which an item waits in staging instead of memory.
const Large = 8 << 20

// WireSize is how many bytes an item of size bytes weighs in an import request: base64 in JSON, and the names around
// it.
func WireSize(size int64) int64 { return (size+2)/3*4 + 512 }
