"""A DNS server of this process: answers TXT for what was put into it, and that there is no such name otherwise."""
import socket
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


class Names:
    """Answers on a UDP port such as `127.0.0.1:5353`, until closed; port 0 takes a free one."""

    def __init__(self, address):
        self.records = {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        host, port = address.rsplit(":", 1)
        self.socket.bind((host, int(port)))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def put(self, name, value):
        self.records.setdefault(name.rstrip(".").lower(), []).append(value)

    def close(self):
        self.socket.close()

    def _serve(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(4096)
                self.socket.sendto(self._answer(data), peer)
            except OSError:
                return

    def _answer(self, data):
        question = dns.message.from_wire(data)
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.AA | dns.flags.RA
        asked = question.question[0]
        values = self.records.get(asked.name.to_text().rstrip(".").lower())
        if not values:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif asked.rdtype == dns.rdatatype.TXT:
            quoted = [f'"{value}"' for value in values]
            answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", "TXT", *quoted))
        return answer.to_wire()
