package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// file is one file of the package.
type file struct {
	name    string
	mode    fs.FileMode
	content []byte
}

// functionName is what the Functions host accepts; host is its own word.
var functionName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,127}$`)

// collect reads what belongs into the package. The host sees only folders directly below the root, so that those of
// functions move up.
func collect(root, handler string) ([]file, error) {
	host, err := readJSON(filepath.Join(root, "host.json"))
	if err != nil {
		return nil, err
	}
	executable, err := executableOf(host)
	if err != nil {
		return nil, err
	}
	binary, err := os.ReadFile(handler)
	if err != nil {
		return nil, fmt.Errorf("read the handler: %w", err)
	}
	out := []file{{"host.json", 0o644, host}, {executable, 0o755, binary}}
	found, err := filepath.Glob(filepath.Join(root, "functions", "*", "function.json"))
	if err != nil || len(found) == 0 {
		return nil, errors.Join(errors.New("there is no functions/*/function.json"), err)
	}
	for _, f := range found {
		name := filepath.Base(filepath.Dir(f))
		if !functionName.MatchString(name) || strings.EqualFold(name, "host") || name == executable {
			return nil, fmt.Errorf("folder functions/%s: not a name that the Functions host accepts", name)
		}
		content, err := readJSON(f)
		if err != nil {
			return nil, err
		}
		out = append(out, file{path.Join(name, "function.json"), 0o644, content})
	}
	return out, nil
}

// executableOf returns the name under which host.json expects the handler.
func executableOf(host []byte) (string, error) {
	var h struct {
		CustomHandler struct {
			Description struct{ DefaultExecutablePath string }
		}
	}
	if err := json.Unmarshal(host, &h); err != nil {
		return "", fmt.Errorf("read host.json: %w", err)
	}
	name := h.CustomHandler.Description.DefaultExecutablePath
	if name == "" || strings.ContainsAny(name, `/\%`) {
		return "", fmt.Errorf("host.json: customHandler.description.defaultExecutablePath is %q, want a plain file name", name)
	}
	return name, nil
}

func readJSON(name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read package: %w", err)
	}
	if !json.Valid(b) {
		return nil, fmt.Errorf("%s is not JSON", name)
	}
	return b, nil
}

// epoch is the time of every file: the first that a zip can hold.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// pack writes a zip whose bytes depend on nothing but the files. The mode is stored with each: the Functions host mounts
// the package and cannot set the run bit afterwards.
func pack(files []file) ([]byte, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: epoch}
		h.SetMode(f.mode)
		w, err := z.CreateHeader(h)
		if err != nil {
			return nil, fmt.Errorf("write zip: %w", err)
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, fmt.Errorf("write zip: %w", err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("write zip: %w", err)
	}
	return out.Bytes(), nil
}
