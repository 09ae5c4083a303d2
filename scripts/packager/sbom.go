package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// The part of CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/) that says which modules are in a binary.
type (
	bom struct {
		Schema       string       `json:"$schema"`
		Format       string       `json:"bomFormat"`
		Spec         string       `json:"specVersion"`
		Serial       string       `json:"serialNumber"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Component  component  `json:"component"`
		Properties []property `json:"properties"`
	}
	component struct {
		Ref        string     `json:"bom-ref"`
		Type       string     `json:"type"`
		Name       string     `json:"name"`
		Version    string     `json:"version"`
		Hashes     []hash     `json:"hashes,omitempty"`
		PURL       string     `json:"purl"`
		Properties []property `json:"properties,omitempty"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"` // hex
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn,omitempty"`
	}
)

// sbom lists the modules that the linker put into the handler, with their hashes from go.sum. It has no time of its own:
// the same handler makes the same list.
func sbom(root, handler string) ([]byte, error) {
	info, err := buildinfo.ReadFile(handler)
	if err != nil {
		return nil, fmt.Errorf("read the handler's modules: %w", err)
	}
	binary, err := os.ReadFile(handler)
	if err != nil {
		return nil, fmt.Errorf("read the handler: %w", err)
	}
	sums, err := goSum(filepath.Join(root, "go.sum"))
	if err != nil {
		return nil, err
	}
	b, err := describe(info, sums, sha256.Sum256(binary))
	if err != nil {
		return nil, err
	}
	out, err := json.MarshalIndent(b, "", "  ")
	return append(out, '\n'), err
}

func describe(info *debug.BuildInfo, sums map[string]string, binary [sha256.Size]byte) (bom, error) {
	version := info.Main.Version
	if version == "" {
		version = "(devel)"
	}
	main := component{Type: "application", Name: info.Main.Path, Version: version, PURL: purl(info.Main.Path, version),
		Hashes: []hash{{"SHA-256", hex.EncodeToString(binary[:])}}}
	main.Ref = main.PURL
	b := bom{Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", Spec: "1.6", Version: 1,
		Serial: "urn:uuid:" + uuid.NewSHA1(uuid.NameSpaceURL, binary[:]).String(), Metadata: metadata{Component: main}}
	for _, s := range info.Settings {
		b.Metadata.Properties = append(b.Metadata.Properties, property{"go:build:" + s.Key, s.Value})
	}
	std := strings.TrimPrefix(info.GoVersion, "go")
	b.Components = []component{{Ref: purl("std", std), Type: "library", Name: "std", Version: std, PURL: purl("std", std)}}
	for _, m := range info.Deps {
		c, err := library(m, sums)
		if err != nil {
			return b, err
		}
		b.Components = append(b.Components, c)
	}
	slices.SortFunc(b.Components, func(x, y component) int { return strings.Compare(x.Ref, y.Ref) })
	all := dependency{Ref: main.Ref}
	for _, c := range b.Components {
		all.DependsOn = append(all.DependsOn, c.Ref)
		b.Dependencies = append(b.Dependencies, dependency{Ref: c.Ref})
	}
	b.Dependencies = append([]dependency{all}, b.Dependencies...)
	return b, nil
}

// library describes a module. Its hash is Go's: SHA-256 over the names and hashes of its files.
func library(m *debug.Module, sums map[string]string) (component, error) {
	if m.Replace != nil {
		m = m.Replace
	}
	want, ok := sums[m.Path+" "+m.Version]
	if !ok || want != m.Sum {
		return component{}, fmt.Errorf("module %s %s: the handler's hash is not the one in go.sum; run go mod verify", m.Path, m.Version)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
	if err != nil || len(raw) != sha256.Size {
		return component{}, fmt.Errorf("module %s %s: go.sum: want h1: and 32 bytes in base64", m.Path, m.Version)
	}
	p := purl(m.Path, m.Version)
	return component{Ref: p, Type: "library", Name: m.Path, Version: m.Version, PURL: p, Hashes: []hash{{"SHA-256", hex.EncodeToString(raw)}},
		Properties: []property{{"go:sum", m.Sum}}}, nil
}

// purl is a module's package URL.
func purl(path, version string) string {
	return "pkg:golang/" + path + "@" + strings.NewReplacer("+", "%2B", "(", "%28", ")", "%29").Replace(version)
}

// goSum reads the hashes of modules.
func goSum(name string) (map[string]string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read go.sum: %w", err)
	}
	out := map[string]string{}
	for i, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		parts := strings.Fields(line)
		if len(parts) != 3 {
			if line == "" {
				continue
			}
			return nil, fmt.Errorf("go.sum: line %d: want module, version and hash", i+1)
		}
		out[parts[0]+" "+parts[1]] = parts[2]
	}
	return out, nil
}
