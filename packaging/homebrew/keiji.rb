# For a tap. The resources are written by packaging/formula, and so is a release: once its archive has its
# place, `packaging/formula dist/keiji-VERSION.tar.gz` puts `url` and `sha256` above `license`. Until then there
# is only `brew install --HEAD`. The archive can't hold its own digest, so the tap has the formula that counts.
class Keiji < Formula
  include Language::Python::Virtualenv

  desc "Python functions on a schedule, run by the operating system"
  homepage "https://keiji.example"
  license "MIT"
  head "https://keiji.example/keiji.git", branch: "main"

  depends_on :macos
  depends_on "python@3.13"

  resource "click" do
    url "https://files.pythonhosted.org/packages/45/37/edbf1b0707709013c0cf2e8317e03d97ed29bf4cac709fe328904ae92a38/click-8.5.1.tar.gz"
    sha256 "9bbfada76703fd1d784b83eea012e3e8c6a001a876543ef104fa56aaaeb072b4"
  end

  resource "jinja2" do
    url "https://files.pythonhosted.org/packages/df/bf/f7da0350254c0ed7c72f3e33cef02e048281fec7ecec5f032d4aac52226b/jinja2-3.1.6.tar.gz"
    sha256 "0137fb05990d35f1275a587e9aee6d56da821fc83491a0fb838183be43f66d6d"
  end

  resource "markupsafe" do
    url "https://files.pythonhosted.org/packages/38/9b/e422a865e1d5d57d0e509b4e0bf1c1a70a7f6382c29a5aa428df994c8bc8/markupsafe-3.0.4.tar.gz"
    sha256 "2e9ad7dd851bf45fab9f75cbff4cb493fee9979e8d8c7c9c3ee119022518edd6"
  end

  resource "peewee" do
    url "https://files.pythonhosted.org/packages/6f/85/8142c26b9942e2993fdcd9163089a8531ac255aecef1ca4cc1b611e8d193/peewee-4.5.3.tar.gz"
    sha256 "434576afaf806428a01f84af74c42fde59372c4f6a6eba26d9b5372113344a8a"
  end

  resource "structlog" do
    url "https://files.pythonhosted.org/packages/5e/89/b4a0bcfdf4f71a3dea31379f095929613d7e4528a0996bca6aa964cd0dca/structlog-26.1.0.tar.gz"
    sha256 "f63a716cbd1b1291cf7661de7794b455acfa4c43c5bcf1630e6ad5ddc1adb3b7"
  end

  resource "tzdata" do
    url "https://files.pythonhosted.org/packages/7a/29/6a1391d31cd00ff9e927215a224a880e1e84e826b64ba80a499e51c074d8/tzdata-2026.6.tar.gz"
    sha256 "85d2cd9c09f81f0bb29db27759fc83af4f1e620efb814f8c5bf8b4cc4feece6d"
  end

  def install
    virtualenv_install_with_resources
    man1.install "packaging/keiji.1"
    generate_completions_from_executable(bin/"keiji", shell_parameter_format: :click)
  end

  def caveats
    <<~EOS
      To begin, as yourself and without sudo:
        keiji init
      After each upgrade:
        keiji system update
      Before you remove the formula, or the agents of your tasks stay behind:
        keiji system uninstall

      macOS tells of each agent in a notice "Background Items Added". Agents that are switched
      off in System Settings, General, Login Items don't run.
    EOS
  end

  test do
    ENV["HOME"] = testpath
    ENV["KEIJI_HOME"] = testpath/".keiji"
    ENV["KEIJI_WORKSPACE"] = testpath/"keiji"
    assert_match(/\d+\.\d+\.\d+/, shell_output("#{bin}/keiji --version"))
    assert_match "task", shell_output("#{bin}/keiji --help")
  end
end
