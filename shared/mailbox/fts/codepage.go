package fts

import (
	"io"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
)

const (
	utf16LE     = 1200
	windows1252 = 1252
)

// knownPage returns the code page whose low 15 bits stand in a property type; false when it cannot be decoded.
func knownPage(bits Type) (int, bool) {
	for _, page := range []int{int(bits), int(bits | 0x8000)} {
		if pageEncoding(page) != nil {
			return page, true
		}
	}
	return 0, false
}

// pageEncoding returns the encoding of a Windows code page, nil for one that is unknown here.
func pageEncoding(page int) encoding.Encoding {
	switch page {
	case utf16LE:
		return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	case 1201:
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	case 65001:
		return unicode.UTF8
	case 932:
		return japanese.ShiftJIS
	case 50220, 50221, 50222:
		return japanese.ISO2022JP
	case 20932, 51932:
		return japanese.EUCJP
	case 949, 51949:
		return korean.EUCKR
	case 936, 20936:
		return simplifiedchinese.GBK
	case 52936:
		return simplifiedchinese.HZGB2312
	case 54936:
		return simplifiedchinese.GB18030
	case 950:
		return traditionalchinese.Big5
	}
	if cm := pageCharmap(page); cm != nil {
		return cm
	}
	return nil
}

// pageCharmap returns the table of a code page of one byte per character, nil for any other.
func pageCharmap(page int) *charmap.Charmap {
	switch page {
	case windows1252, 20127: // US-ASCII is a part of it
		return charmap.Windows1252
	case 1250:
		return charmap.Windows1250
	case 1251:
		return charmap.Windows1251
	case 1253:
		return charmap.Windows1253
	case 1254:
		return charmap.Windows1254
	case 1255:
		return charmap.Windows1255
	case 1256:
		return charmap.Windows1256
	case 1257:
		return charmap.Windows1257
	case 1258:
		return charmap.Windows1258
	case 874:
		return charmap.Windows874
	case 437:
		return charmap.CodePage437
	case 850:
		return charmap.CodePage850
	case 852:
		return charmap.CodePage852
	case 855:
		return charmap.CodePage855
	case 858:
		return charmap.CodePage858
	case 866:
		return charmap.CodePage866
	case 10000:
		return charmap.Macintosh
	case 20866:
		return charmap.KOI8R
	case 21866:
		return charmap.KOI8U
	}
	return isoCharmap(page)
}

// isoCharmap returns the table of ISO 8859, whose Windows numbers are 28590 plus its part.
func isoCharmap(page int) *charmap.Charmap {
	switch page - 28590 {
	case 1:
		return charmap.ISO8859_1
	case 2:
		return charmap.ISO8859_2
	case 3:
		return charmap.ISO8859_3
	case 4:
		return charmap.ISO8859_4
	case 5:
		return charmap.ISO8859_5
	case 6:
		return charmap.ISO8859_6
	case 7:
		return charmap.ISO8859_7
	case 8:
		return charmap.ISO8859_8
	case 9:
		return charmap.ISO8859_9
	case 13:
		return charmap.ISO8859_13
	case 15:
		return charmap.ISO8859_15
	}
	return nil
}

// decodeText turns the bytes of a string value into a Go string without the terminating NUL. What the code page does not
// have becomes U+FFFD.
func decodeText(page int, b []byte) (string, error) {
	text, err := pageEncoding(page).NewDecoder().Bytes(b)
	return strings.TrimSuffix(string(text), "\x00"), err
}

// decodeTo writes what [decodeText] returns to w, in constant memory.
func decodeTo(w io.Writer, page int, r io.Reader) error {
	t := &untilNUL{w: w}
	_, err := io.Copy(t, pageEncoding(page).NewDecoder().Reader(r))
	return err
}

// untilNUL passes on everything but one NUL at the very end.
type untilNUL struct {
	w    io.Writer
	held bool
}

func (t *untilNUL) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if t.held {
		if _, err := t.w.Write([]byte{0}); err != nil {
			return 0, err
		}
	}
	t.held = p[len(p)-1] == 0
	body := p
	if t.held {
		body = p[:len(p)-1]
	}
	if _, err := t.w.Write(body); err != nil {
		return 0, err
	}
	return len(p), nil
}
