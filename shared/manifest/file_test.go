package manifest_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mailferry/mailferry/shared/manifest"
)

// format is one kind of file.
type format[T any] struct {
	golden string
	encode func(T) ([]byte, error)
	decode func(io.Reader) (T, error)
}

// isGolden makes sure that v is written as the golden file and read from it as want.
func (f format[T]) isGolden(t *testing.T, v, want T) {
	t.Helper()
	got, err := f.encode(v)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(f.golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file := f.file(t)
	if !bytes.Equal(got, file) {
		t.Errorf("written as\n%s\nwant\n%s", got, file)
	}
	read, err := f.decode(iotest.OneByteReader(bytes.NewReader(file)))
	if err != nil || !reflect.DeepEqual(read, want) {
		t.Errorf("read as %+v, err %v; want %+v", read, err, want)
	}
}

// file is the golden file.
func (f format[T]) file(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(f.golden)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// damage is a text that is no such file, and what is said of it.
type damage struct{ name, text, want string }

// names makes sure that each damage is refused with its words.
func (f format[T]) names(t *testing.T, all ...damage) {
	for _, test := range all {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := f.decode(strings.NewReader(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, manifest.ErrDamaged) {
				t.Errorf("err = %v, want one with %q", err, test.want)
			}
		})
	}
}

// fuzz reads anything; what can be read is written and read as the same.
func (f format[T]) fuzz(z *testing.F, seeds ...string) {
	z.Add(f.file(z))
	for _, s := range append(seeds, "", "{}\n") {
		z.Add([]byte(s))
	}
	z.Fuzz(func(t *testing.T, b []byte) {
		v, err := f.decode(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := f.encode(v)
		if err != nil {
			t.Fatal(err)
		}
		n, err := f.decode(bytes.NewReader(again))
		if err != nil || !reflect.DeepEqual(v, n) {
			t.Errorf("%q is read as %+v, written and read as %+v, err %v", b, v, n, err)
		}
	})
}
