package infra_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The golden files list what each parameter file deploys, to be read in a review.
func TestDeployedResources(t *testing.T) {
	t.Parallel()
	s, err := open(repository(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"trial", "production"} {
		var b strings.Builder
		for _, r := range s.deployed[name].Resources {
			fmt.Fprintf(&b, "%s %s", r.Type, r.Name)
			if r.Scope != "" {
				fmt.Fprintf(&b, " on %s", r.Scope)
			}
			b.WriteByte('\n')
		}
		file := "testdata/" + name + ".txt"
		if *update {
			if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("%s deploys something else than %s says; run go test ./infra -update and read the difference", name, file)
		}
	}
}
