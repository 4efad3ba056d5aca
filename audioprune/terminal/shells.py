"""The scripts that let bash, zsh and fish complete a command line: ``script``.

A shell hands the line up to the cursor to ``audioprune --complete``, which answers with ``files``
or ``words`` in the first line and a candidate in each further one.
"""

from __future__ import annotations

_BASH = r"""# audioprune in bash: eval "$(audioprune completion bash)", for instance in ~/.bashrc
_audioprune() {
    local line="${COMP_LINE:0:COMP_POINT}" IFS=$'\n' cut="" kind word
    local -a found
    word="${line##* }"
    # readline takes what follows the last of these signs for the word
    [[ $COMP_WORDBREAKS == *=* && $word == *=* ]] && cut="${word%"${word##*=}"}"
    [[ $COMP_WORDBREAKS == *:* && ${word#"$cut"} == *:* ]] && cut="${word%"${word##*:}"}"
    found=($("${COMP_WORDS[0]}" --complete "$line" 2>/dev/null))
    kind="${found[0]}"
    unset "found[0]"
    if [[ $kind == files ]]; then
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -f -- "${word#*=}"))
        [[ -n $cut ]] || COMPREPLY=("${COMPREPLY[@]/#/"${word%%=*}="}")
        return
    fi
    COMPREPLY=("${found[@]#"$cut"}")
    case "${COMPREPLY[0]}" in *=|*.|*/) compopt -o nospace 2>/dev/null ;; esac
}
complete -F _audioprune audioprune
"""
_ZSH = r"""#compdef audioprune
# audioprune in zsh: eval "$(audioprune completion zsh)" after compinit, for instance in ~/.zshrc
_audioprune() {
    local -a found rest
    local line="${(j: :)words[1,CURRENT-1]} ${PREFIX}"
    found=("${(@f)$("${words[1]}" --complete "$line" 2>/dev/null)}")
    if [[ $found[1] == files ]]; then
        compset -P '*='
        _files
        return
    fi
    rest=("${(@)found[2,-1]}")
    local -a open closed
    open=("${(@M)rest:#*[=./]}")
    closed=("${(@)rest:#*[=./]}")
    (( $#open )) && compadd -Q -S '' -- "${open[@]}"
    (( $#closed )) && compadd -Q -- "${closed[@]}"
}
compdef _audioprune audioprune
"""
_FISH = r"""# audioprune in fish: audioprune completion fish | source, for instance in config.fish
function __audioprune_complete
    audioprune --complete (commandline -cp) 2>/dev/null | tail -n +2
end
complete -c audioprune -f -a '(__audioprune_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
SHELLS = tuple(_SCRIPTS)


def script(shell: str) -> str:
    """Return the script of ``bash``, ``zsh`` or ``fish``."""
    return _SCRIPTS[shell]
