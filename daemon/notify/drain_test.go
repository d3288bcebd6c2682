package notify

import "golang.org/x/sys/unix"

func drain(fd int) []string {
	var out []string
	buf := make([]byte, 4096)
	for {
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		if err != nil {
			return out
		}
		out = append(out, string(buf[:n]))
	}
}
