package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

// repository writes a small repository with a handler that imports only the standard library.
func repository(t *testing.T, change map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{
		"go.mod":                         "module example.org/ferry\n\ngo 1.26\n",
		"go.sum":                         "",
		"host.json":                      `{"customHandler":{"description":{"defaultExecutablePath":"handler"}}}`,
		"functions/main.go":              "package main\n\nfunc main() { println(\"ready\") }\n",
		"functions/submit/function.json": `{"bindings":[]}`,
		"functions/plan/function.json":   `{"bindings":[]}`,
	}
	for name, content := range change {
		files[name] = content
	}
	for name, content := range files {
		if content == "none" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func pkg(t *testing.T, root string) (zipped, list []byte) {
	t.Helper()
	out := t.TempDir()
	if err := run(t.Context(), options{Root: root, Out: out}, io.Discard); err != nil {
		t.Fatal(err)
	}
	zipped, err := os.ReadFile(filepath.Join(out, "mailferry.zip"))
	if err != nil {
		t.Fatal(err)
	}
	list, err = os.ReadFile(filepath.Join(out, "mailferry.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	return zipped, list
}

func TestPackage(t *testing.T) {
	t.Parallel()
	zipped, list := pkg(t, repository(t, nil))
	z, err := zip.NewReader(bytes.NewReader(zipped), int64(len(zipped)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range z.File {
		got = append(got, f.Mode().String()+" "+f.Name)
		if !f.Modified.Equal(epoch) {
			t.Errorf("%s is of %s, want %s", f.Name, f.Modified, epoch)
		}
	}
	want := "-rwxr-xr-x handler\n-rw-r--r-- host.json\n-rw-r--r-- plan/function.json\n-rw-r--r-- submit/function.json"
	if strings.Join(got, "\n") != want {
		t.Errorf("package\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	var b bom
	if err := json.Unmarshal(list, &b); err != nil {
		t.Fatal(err)
	}
	if b.Format != "CycloneDX" || b.Metadata.Component.Name != "example.org/ferry" || len(b.Components) != 1 || b.Components[0].Name != "std" {
		t.Errorf("list %+v", b)
	}
}

// Another folder, another time and other sources of randomness make the same bytes.
func TestSameCommitSameBytes(t *testing.T) {
	t.Parallel()
	zip1, list1 := pkg(t, repository(t, nil))
	zip2, list2 := pkg(t, repository(t, nil))
	if !bytes.Equal(zip1, zip2) {
		t.Error("two packages of the same files differ")
	}
	if !bytes.Equal(list1, list2) {
		t.Error("two lists of the same files differ")
	}
	zip3, list3 := pkg(t, repository(t, map[string]string{"functions/main.go": "package main\n\nfunc main() { println(\"Ready\") }\n"}))
	if bytes.Equal(zip1, zip3) || bytes.Equal(list1, list3) {
		t.Error("packages of different files are the same")
	}
}

// Two clones of a commit make the same package, and the package names the commit.
func TestSameCommitInTwoClones(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git here")
	}
	root, folder := repository(t, nil), t.TempDir()
	git := func(dir string, args ...string) string {
		c := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"}, args...)...)
		c.Dir = dir
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git(root, "init", "-q")
	git(root, "add", ".")
	git(root, "commit", "-q", "-m", "x")
	git(folder, "clone", "-q", root, "a")
	git(folder, "clone", "-q", root, "b")
	zip1, list1 := pkg(t, filepath.Join(folder, "a"))
	zip2, list2 := pkg(t, filepath.Join(folder, "b"))
	if !bytes.Equal(zip1, zip2) || !bytes.Equal(list1, list2) {
		t.Error("packages of two clones differ")
	}
	if head := git(root, "rev-parse", "--short=12", "HEAD"); !bytes.Contains(list1, []byte(head)) {
		t.Errorf("the list does not name the commit %s", head)
	}
	if err := os.WriteFile(filepath.Join(folder, "b", "host.json"), []byte(`{"customHandler":{"description":{"defaultExecutablePath":"run"}}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, list3 := pkg(t, filepath.Join(folder, "b")); !bytes.Contains(list3, []byte("+dirty")) {
		t.Error("the list of a changed folder does not say so")
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change map[string]string
		want   string
	}{
		{"no host.json", map[string]string{"host.json": "none"}, "host.json"},
		{"bad host.json", map[string]string{"host.json": "{"}, "host.json is not JSON"},
		{"no executable", map[string]string{"host.json": "{}"}, "defaultExecutablePath"},
		{"executable in a folder", map[string]string{"host.json": `{"customHandler":{"description":{"defaultExecutablePath":"bin/handler"}}}`}, "want a plain file name"},
		{"no functions", map[string]string{"functions/plan/function.json": "none", "functions/submit/function.json": "none"}, "there is no functions"},
		{"bad function.json", map[string]string{"functions/plan/function.json": "x"}, "function.json is not JSON"},
		{"bad name", map[string]string{"functions/1st/function.json": "{}"}, "functions/1st"},
		{"the host's name", map[string]string{"functions/Host/function.json": "{}"}, "functions/Host"},
		{"does not compile", map[string]string{"functions/main.go": "package main"}, "build the handler"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := run(t.Context(), options{Root: repository(t, c.change), Out: t.TempDir()}, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	sum := "h1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	info := &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Path: "example.org/ferry", Version: "abc"},
		Deps:     []*debug.Module{{Path: "example.org/b", Version: "v2.0.0+incompatible", Sum: sum}, {Path: "example.org/a", Version: "v1.0.0", Sum: sum}},
		Settings: []debug.BuildSetting{{Key: "GOOS", Value: "linux"}}}
	sums := map[string]string{"example.org/a v1.0.0": sum, "example.org/b v2.0.0+incompatible": sum}
	b, err := describe(info, sums, sha256.Sum256([]byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	var refs []string
	for _, c := range b.Components {
		refs = append(refs, c.Ref)
	}
	if got, want := strings.Join(refs, " "), "pkg:golang/example.org/a@v1.0.0 pkg:golang/example.org/b@v2.0.0%2Bincompatible pkg:golang/std@1.26.0"; got != want {
		t.Errorf("components %s, want %s", got, want)
	}
	if h := b.Components[0].Hashes[0]; h.Algorithm != "SHA-256" || !strings.HasPrefix(h.Content, "00010203") {
		t.Errorf("hash %+v", h)
	}
	if d := b.Dependencies[0]; d.Ref != "pkg:golang/example.org/ferry@abc" || len(d.DependsOn) != 3 {
		t.Errorf("dependencies %+v", d)
	}
	sums["example.org/a v1.0.0"] = "h1:other"
	if _, err := describe(info, sums, sha256.Sum256(nil)); err == nil || !strings.Contains(err.Error(), "go.sum") {
		t.Errorf("error %v, want one about go.sum", err)
	}
}

func TestRunnable(t *testing.T) {
	t.Parallel()
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := runnable(text); err == nil {
		t.Error("a text file passes for a handler")
	}
}

// The list names every module that the linker knows of.
func TestListIsComplete(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	list, err := sbom("../..", self)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range info.Deps {
		if !strings.Contains(string(list), `"`+purl(m.Path, m.Version)+`"`) {
			t.Errorf("%s is not in the list", m.Path)
		}
	}
	if len(info.Deps) == 0 {
		t.Error("the test's binary has no modules")
	}
}
