//go:build !unix

package hosttest

import (
	"os"
	"os/exec"
)

func separate(*exec.Cmd) {}

func signalOf(*os.ProcessState) int { return 9 }
