"""What the controller does: a folder for a site, its secrets, calls of ansible-playbook. Ansible is a program here."""
