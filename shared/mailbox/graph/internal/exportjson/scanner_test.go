package exportjson

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

type seen struct {
	id, change, code, data string
	failed                 bool
}

func scan(r io.Reader) ([]seen, error) {
	var all []seen
	s := NewScanner(r)
	for {
		e, err := s.Next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		var data []byte
		if e.Data != nil {
			if data, err = io.ReadAll(e.Data); err != nil {
				return all, err
			}
		}
		if err := s.Rest(); err != nil {
			return all, err
		}
		all = append(all, seen{e.ItemID, e.ChangeKey, e.Code, string(data), e.Failed})
	}
}

func TestScan(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, answer string
		want         []seen
		wantErr      string
	}{
		{name: "as published", answer: `{"@odata.context":"x","value":[{"itemId":"a","changeKey":"k","data":"aGVsbG8="},
			{"itemId":"b","error":{"code":"ErrorItemNotFound","message":"m"}}]}`,
			want: []seen{{id: "a", change: "k", data: "hello"}, {id: "b", code: "ErrorItemNotFound", failed: true}}},
		{name: "id behind the data", answer: `{"value":[{"changeKey":"k","data":"aGVsbG8=","error":null,"itemId":"a"}]}`,
			want: []seen{{id: "a", change: "k", data: "hello"}}},
		{name: "escaped base64", answer: `{"value":[{"itemId":"a\u003d","data":"\u002b\/\u002B\u002f"}]}`,
			want: []seen{{id: "a=", data: "\xfb\xff\xbf"}}},
		{name: "surrogates", answer: `{"value":[{"itemId":"\ud83d\ude00"}]}`, want: []seen{{id: "😀"}}},
		{name: "no entries", answer: `{"value":[]}`},
		{name: "empty entry and unknown fields", answer: `{"x":{"y":[1,-2.5e3,true,null,{}]},"value":[{},{"z":[[],{"q":"w"}],"itemId":"a"}],"n":[]}`,
			want: []seen{{}, {id: "a"}}},
		{name: "null data", answer: `{"value":[{"itemId":"a","data":null}]}`, want: []seen{{id: "a"}}},
		{name: "cut in the data", answer: `{"value":[{"itemId":"a","data":"aGVs`, wantErr: "unexpected EOF"},
		{name: "cut behind an entry", answer: `{"value":[{"itemId":"a"}`, want: []seen{{id: "a"}}, wantErr: "unexpected EOF"},
		{name: "cut behind value", answer: `{"value":[{"itemId":"a"}]`, want: []seen{{id: "a"}}, wantErr: "unexpected EOF"},
		{name: "no value", answer: `{"error":{"code":"x"}}`, wantErr: `no "value"`},
		{name: "not json", answer: `<html>`, wantErr: "at byte 0"},
		{name: "garbage at the end", answer: `{"value":[]}x`, wantErr: "behind the end"},
		{name: "data twice", answer: `{"value":[{"data":"","data":""}]}`, wantErr: "data twice"},
		{name: "too deep", answer: `{"x":` + strings.Repeat("[", 40), wantErr: "nested more than"},
		{name: "id too long", answer: `{"value":[{"itemId":"` + strings.Repeat("a", 20000) + `"}]}`, wantErr: "more than 16384 bytes"},
		{name: "bad base64", answer: `{"value":[{"data":"a*bc"}]}`, wantErr: "illegal base64"},
		{name: "line break in a string", answer: "{\"value\":[{\"itemId\":\"a\nb\"}]}", wantErr: "control character"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []io.Reader{strings.NewReader(tt.answer), iotest.OneByteReader(strings.NewReader(tt.answer))} {
				got, err := scan(r)
				if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("error %v, want %q", err, tt.wantErr)
				}
				if len(got) != len(tt.want) {
					t.Fatalf("got %+v, want %+v", got, tt.want)
				}
				for i := range got {
					if got[i] != tt.want[i] {
						t.Errorf("entry %d: got %+v, want %+v", i, got[i], tt.want[i])
					}
				}
			}
		})
	}
}

func TestSkipsUnreadData(t *testing.T) {
	t.Parallel()
	s := NewScanner(strings.NewReader(`{"value":[{"itemId":"a","data":"aGVsbG8=","changeKey":"k"},{"itemId":"b"}]}`))
	a, err := s.Next()
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Next()
	if err != nil || b.ItemID != "b" || a.ChangeKey != "k" {
		t.Fatalf("second entry %+v, first %+v, error %v", b, a, err)
	}
}

func TestErrTellsConnectionFromItem(t *testing.T) {
	t.Parallel()
	gone := errors.New("connection gone")
	s := NewScanner(io.MultiReader(strings.NewReader(`{"value":[{"data":"aGVs`), iotest.ErrReader(gone)))
	e, err := s.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(e.Data); !errors.Is(err, gone) || !errors.Is(s.Err(), gone) {
		t.Errorf("read error %v, Err %v", err, s.Err())
	}
	s = NewScanner(strings.NewReader(`{"value":[{"data":"a*bc"},{"itemId":"b"}]}`))
	e, _ = s.Next()
	if _, err := io.ReadAll(e.Data); err == nil || s.Err() != nil {
		t.Errorf("bad base64: read error %v, Err %v", err, s.Err())
	}
	if e, err = s.Next(); err != nil || e.ItemID != "b" {
		t.Errorf("behind bad base64: %+v, %v", e, err)
	}
}

// FuzzScan holds the scanner against encoding/json: whatever both accept they read alike.
func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"@odata.context":"x","value":[{"itemId":"a","changeKey":"k","data":"aGVsbG8="},{"itemId":"b","error":{"code":"c","message":"m"}}]}`))
	f.Add([]byte(`{"value":[{"data":"\u002b\/\u002B\u002f","itemId":"\ud83d\ude00"}],"z":[1,2,{"y":null}]}`))
	f.Add([]byte(`{"value":[{"itemId":"a","data":""}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := scan(bytes.NewReader(in))
		if err != nil {
			return
		}
		var want struct {
			Value []struct {
				ItemID *string `json:"itemId"`
				Data   *string `json:"data"`
			} `json:"value"`
		}
		if json.Unmarshal(in, &want) != nil || len(want.Value) != len(got) || bytes.Count(bytes.ToLower(in), []byte("value")) > 1 {
			return // numbers and repeated keys are read less strictly
		}
		if bytes.Contains(in, []byte(`\u`)) || bytes.Count(bytes.ToLower(in), []byte("itemid")) > len(got) ||
			bytes.Count(bytes.ToLower(in), []byte("data")) > len(got) {
			return
		}
		for i, w := range want.Value {
			if w.ItemID != nil && *w.ItemID != strings.ToValidUTF8(got[i].id, "\ufffd") && !strings.Contains(*w.ItemID, "\ufffd") {
				t.Errorf("entry %d: id %q, want %q", i, got[i].id, *w.ItemID)
			}
			if w.Data != nil {
				b, err := base64.StdEncoding.DecodeString(*w.Data)
				if err != nil || string(b) != got[i].data {
					t.Errorf("entry %d: data %q, want %q (%v)", i, got[i].data, b, err)
				}
			}
		}
	})
}
