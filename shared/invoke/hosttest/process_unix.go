//go:build unix

package hosttest

import (
	"os"
	"os/exec"
	"syscall"
)

// separate keeps a terminal's interrupt away from the handler: the host never signals it.
func separate(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func signalOf(s *os.ProcessState) int {
	w, _ := s.Sys().(syscall.WaitStatus)
	return int(w.Signal())
}
